"""Results: where they are, what stamps them, how they are read and written."""
