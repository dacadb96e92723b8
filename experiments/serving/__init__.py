"""The reference pipeline measured: hangs, tokens and speed."""
