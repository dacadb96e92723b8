"""Text as its tokens come, up to a stop string."""

from hypothesis import given
from hypothesis import strategies as st

from reference.engine.detokenizer import StopStringFilter


class Letters:
    """Stands in for a decoder of tokens that are code points; two tokens make one character if the first is 0."""

    def __init__(self) -> None:
        self._half = False

    def push(self, token: int) -> str:
        text = "" if token == 0 else "é" if self._half else chr(token)
        self._half = token == 0
        return text

    def finish(self) -> str:
        return "\ufffd" if self._half else ""


def shown(text: str, stops: list[str]) -> tuple[list[str], bool]:
    """The pieces of a text, letter by letter, up to a stop string; whether one came."""
    out, pieces = StopStringFilter(Letters(), stops), []  # type: ignore[arg-type]
    for letter in text:
        piece, cut = out.push(ord(letter))
        pieces.append(piece)
        if cut:
            return pieces, True
    piece, cut = out.finish()
    return [*pieces, piece], cut


def cut_at(text: str, stops: list[str]) -> tuple[str, bool]:
    """The text before the stop string that is complete first (the longest, where several are)."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)], True
    return text, False


@given(st.text("ab", max_size=12), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_a_text_ends_before_its_first_stop_string(text: str, stops: list[str]) -> None:
    pieces, cut = shown(text, stops)
    assert ("".join(pieces), cut) == cut_at(text, stops)


def test_only_what_may_begin_a_stop_string_is_held_back() -> None:
    assert shown("one END", ["END", "e!"]) == (["o", "n", "", "e ", "", "", ""], True)
    assert shown("EE", ["END"]) == (["", "E", "E"], False)


def test_the_rest_of_half_a_character_may_still_end_in_a_stop_string() -> None:
    out = StopStringFilter(Letters(), ["x\ufffd"])  # type: ignore[arg-type]
    assert [out.push(ord("a")), out.push(ord("x")), out.push(0)] == [("a", False), ("", False), ("", False)]
    assert out.finish() == ("", True)


def test_without_a_tokenizer_there_is_no_text() -> None:
    out = StopStringFilter(None)
    assert (out.push(65), out.finish()) == (("", False), ("", False))
