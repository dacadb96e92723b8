"""One stage of a Llama, on one rank or shared by several."""
