"""From which size on a program hangs: the limit of the library and one byte, found without being told the limit."""

import pytest

from model import check
from model.program.text_form import parse_program
from model.semantics.libraries import LARGE, semantics
from model.verdict.size_threshold import SizeThreshold, find_size_threshold

PAIR = "send(1); recv(1)\nsend(0); recv(0)"


def threshold(text: str, library: str) -> SizeThreshold | None:
    program = parse_program(text)
    libraries = {"*": semantics(library)}
    return find_size_threshold(program, libraries, check(program, libraries))


@pytest.mark.parametrize(
    ("library", "nbytes", "verdict"),
    [
        ("mpich", 8113, "deadlock"),
        ("openmpi", 4017, "deadlock"),
        ("smpi", 65536, "deadlock"),
        ("nccl", 2**20 + 1, "deadlock"),
        ("oneccl-mpich", 8113, "livelock"),
        ("eager(100)", 101, "deadlock"),
        ("eager(1)", 2, "deadlock"),
    ],
)
def test_a_pair_hangs_from_one_byte_over_the_limit(library: str, nbytes: int, verdict: str) -> None:
    found = threshold(PAIR, library)
    assert found is not None
    assert found.to_json() == {"assumed": 1, "nbytes": nbytes, "verdict": verdict}
    assert str(found) == f"messages without a size are taken as 1 byte; from {nbytes} bytes on it is a {verdict}"


def test_messages_with_a_size_keep_it() -> None:
    """Two of 400,000 bytes fit into nccl's channel of 1 MiB, and leave 248,576 for the third."""
    text = """
        0: send(1, nbytes=400000); send(1, nbytes=400000); send(1); recv(1)
        1: send(0, nbytes=2000000); recv(0); recv(0); recv(0)
    """
    found = threshold(text, "fifo(1048576)")
    assert found is not None and found.nbytes == 248_577


@pytest.mark.parametrize(
    ("text", "library"),
    [
        (PAIR, "rendezvous"),  # hangs at every size
        (PAIR, "eager"),  # at none
        (PAIR, "bounded(1)"),
        ("send(1); recv(1)\nrecv(0); send(0)", "mpich"),
        ("send(1, nbytes=64); recv(1)\nsend(0, nbytes=64); recv(0)", "mpich"),
        ("send(1); recv(any)\nsend(0); recv(any)", "mpich"),
    ],
)
def test_none_where_no_size_turns_the_verdict(text: str, library: str) -> None:
    assert threshold(text, library) is None


def test_every_limit_is_below_what_is_tried() -> None:
    assert LARGE > 2**20
