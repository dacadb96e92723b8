"""How a verdict is shown: as tables, in a notebook, as a picture."""
