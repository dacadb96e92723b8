"""What a program is: the operations of every rank, checked together, and their text and JSON forms."""
