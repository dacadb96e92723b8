"""The engine: text in, tokens and text out, over ranks in processes of their own."""
