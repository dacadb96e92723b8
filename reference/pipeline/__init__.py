"""One rank's part of the serving loop, with tensors."""
