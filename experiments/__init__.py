"""Hangs and throughput, measured and set against the predictions of `model`."""
