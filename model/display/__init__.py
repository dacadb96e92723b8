"""How results show themselves: as text, in a notebook, as a data frame and as a picture. Knows nothing of programs."""
