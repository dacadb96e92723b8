"""Checkpoint files, their tokenizers and chat templates."""
