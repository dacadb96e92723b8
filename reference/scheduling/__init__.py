"""Which requests run in which microbatch: plain Python, the same on every rank; imports no torch."""
