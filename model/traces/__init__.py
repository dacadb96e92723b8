"""Recorded runs: their files, whether the model allows them, and where the time went."""
