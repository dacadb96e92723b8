"""A pipeline-parallel Llama whose ranks perform the operations that `model` reasons about."""
