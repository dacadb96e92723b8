"""The commands of `python -m model`, a file a subject, and the console script."""
