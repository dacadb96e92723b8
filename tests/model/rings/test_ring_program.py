"""Ring programs: each style of calls by hand, one message per edge and round, wrong sizes by name."""

from typing import Any

import pytest

from model.program.checked import program
from model.program.ops import Batch, Irecv, Isend, Operation, Recv, Send, Wait
from model.rings.orderings import NAMED, ordering
from model.rings.ring_program import STYLES, Style, ring


def test_a_ring_sends_to_the_next_rank_and_receives_from_the_previous() -> None:
    assert ring(ranks=3, rounds=1, ordering=ordering("parity", 3), nbytes=7) == (
        (Send(peer=1, nbytes=7), Recv(peer=2)),
        (Recv(peer=0), Send(peer=2, nbytes=7)),
        (Send(peer=0, nbytes=7), Recv(peer=1)),
    )


ISEND, WAIT, RECV = Isend(peer=1, request="s"), Wait(requests=("s",)), Recv(peer=1)


@pytest.mark.parametrize(
    ("style", "letter", "ops"),
    [
        ("send", "S", [Send(peer=1), RECV]),
        ("send", "R", [RECV, Send(peer=1)]),
        ("isend-wait", "S", [ISEND, WAIT, RECV]),
        ("isend-wait", "R", [RECV, ISEND, WAIT]),
        ("isend", "S", [ISEND, RECV, WAIT]),
        ("isend", "R", [RECV, ISEND, WAIT]),
        ("batch", "S", [Batch(ops=(ISEND, Irecv(peer=1, request="r")))]),
        ("batch", "R", [Batch(ops=(Irecv(peer=1, request="r"), ISEND))]),
    ],
)
def test_styles_of_a_ring_step(style: Style, letter: str, ops: list[Operation]) -> None:
    made = ring(ranks=2, rounds=2, ordering=ordering(letter + "S", 2), style=style)
    assert list(made[0]) == ops * 2


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("ranks", [2, 3, 6])
def test_a_ring_is_a_checked_program_with_one_message_per_edge_and_round(style: Style, name: str, ranks: int) -> None:
    made = ring(ranks=ranks, rounds=3, ordering=ordering(name, ranks), style=style)
    assert program(made) == made
    parts = [[part for op in ops for part in (op.ops if isinstance(op, Batch) else (op,))] for ops in made]
    for rank, ops in enumerate(parts):
        assert [op.peer for op in ops if isinstance(op, Send | Isend)] == [(rank + 1) % ranks] * 3
        assert [op.peer for op in ops if isinstance(op, Recv | Irecv)] == [(rank - 1) % ranks] * 3


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"ranks": 1}, "ranks is 1"),
        ({"ranks": 0}, "ranks is 0"),
        ({"ranks": -4}, "ranks is -4"),
        ({"rounds": 0}, "rounds is 0"),
        ({"rounds": -1}, "rounds is -1"),
        ({"style": "sendrecv"}, "'sendrecv'"),
        ({"nbytes": -1}, "nbytes is -1"),
    ],
)
def test_a_wrong_ring_is_an_error_that_names_the_value(changed: dict[str, Any], named: str) -> None:
    arguments: dict[str, Any] = {"ranks": 2, "rounds": 1, "ordering": NAMED["parity"], **changed}
    with pytest.raises(ValueError) as error:
        ring(**arguments)
    assert named in str(error.value)
