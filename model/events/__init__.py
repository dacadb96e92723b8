"""One graph that decides a program with its times, and the simulator beside it."""
