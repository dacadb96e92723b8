"""Orders that do not deadlock: made for a pattern of messages, or proposed as the cure of a program that hangs."""
