"""What a program is: the operations of every rank, and their text and JSON forms."""
