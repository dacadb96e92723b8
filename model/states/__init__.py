"""Every state of a program: the transition system and its searches."""
