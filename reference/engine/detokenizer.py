"""Tokens to text as they come: whole characters only, and up to the first stop string."""

from __future__ import annotations

from collections.abc import Sequence

from reference.checkpoint.tokenizer import INCOMPLETE, TextTokenizer


class TextStream:
    """Decodes token by token, giving whole characters only: all pieces together are the text of all tokens.

    A decoder may treat the beginning of a text in its own way, so each piece is decoded behind the one before,
    and is what it adds to it. Only where byte tokens of a `ByteFallback` decoder make no text can the pieces
    differ from the whole: it judges a run of them together, later ones included.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []  # the piece given last, then what has not been given yet
        self._given = 0

    def push(self, token: int) -> str:
        """The text that is complete now; often empty."""
        self._tokens.append(token)
        piece, whole = self._pending()
        if not piece or piece.endswith(INCOMPLETE) or not whole:
            return ""
        self._tokens = self._tokens[self._given :]
        self._given = len(self._tokens)
        return piece

    def finish(self) -> str:
        """What is left when no token follows."""
        piece, _ = self._pending()
        self._tokens, self._given = [], 0
        return piece

    def _pending(self) -> tuple[str, bool]:
        before = self._tokenizer.decode(self._tokens[: self._given])
        text = self._tokenizer.decode(self._tokens)
        return text[len(before) :], text.startswith(before)


class StopStringFilter:
    """The text of one request as its tokens come, up to the first stop string.

    Without a tokenizer (`stream` is None) all text is empty.
    """

    def __init__(self, stream: TextStream | None, stops: Sequence[str] = ()) -> None:
        self._stream, self._stops = stream, tuple(stops)
        self._held = ""  # the longest end of the text that a stop string may begin with

    def push(self, token: int) -> tuple[str, bool]:
        """The text that may be shown now, and whether it ends here because a stop string follows."""
        return ("", False) if self._stream is None else self._pass(self._stream.push(token), last=False)

    def finish(self) -> tuple[str, bool]:
        """The same when no token follows."""
        return ("", False) if self._stream is None else self._pass(self._stream.finish(), last=True)

    def _pass(self, piece: str, *, last: bool) -> tuple[str, bool]:
        if not self._stops:
            return piece, False
        text = self._held + piece
        found = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self._held = ""
            return text[: min(found)], True
        kept = 0 if last else max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept], False


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with, and goes on after."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
