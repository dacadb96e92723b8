"""Rings, the special case that the project grew from: orderings, ring programs and the space of all orderings."""
