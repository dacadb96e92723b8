"""What a library makes of a program: its parameters, the instructions it comes down to, and the guards of each."""
