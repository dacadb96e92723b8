"""Other tools and a clock beside the model: SPIN, SimGrid, and the speed of the engines."""
