"""What was measured of real libraries, and hangs that users reported: the model must predict both."""

import pytest

from model import check
from model.program.checked import Program, program
from model.program.ops import Batch, Irecv, Isend, Operation, Recv, Send, Wait
from model.rings.orderings import NAMED as ORDERINGS
from model.rings.ring_program import Style, ring
from model.semantics.libraries import NAMED, bounded, semantics
from tests.model.verdicts import HANG, OK, SPIN, pair, ranks_of, verdicts

MIB = 2**20

GLOO_TABLE: list[tuple[Style, str, str]] = [
    ("send", "send-first", HANG),
    ("send", "receive-first", HANG),
    ("send", "parity", OK),
    ("send", "one-receives-first", OK),
    ("send", "last-sends-first", OK),
    ("isend-wait", "send-first", HANG),
    ("isend-wait", "receive-first", HANG),
    ("isend-wait", "parity", OK),
    ("isend-wait", "one-receives-first", OK),
    ("isend-wait", "last-sends-first", OK),
    ("isend", "send-first", OK),
    ("isend", "receive-first", HANG),
    ("isend", "parity", OK),
    ("isend", "one-receives-first", OK),
    ("isend", "last-sends-first", OK),
    ("batch", "send-first", OK),
    ("batch", "receive-first", OK),
    ("batch", "parity", OK),
    ("batch", "one-receives-first", OK),
    ("batch", "last-sends-first", OK),
]


@pytest.mark.parametrize(("style", "name", "measured"), GLOO_TABLE)
@pytest.mark.parametrize("nbytes", [1, 8112, 16 * MIB])
def test_gloo_as_measured(style: Style, name: str, measured: str, nbytes: int) -> None:
    for ranks in range(2, 6):
        program = ring(ranks=ranks, rounds=1, ordering=ORDERINGS[name], style=style, nbytes=nbytes)
        assert verdicts(program, "gloo") == [measured], ranks


@pytest.mark.parametrize("ranks", range(2, 6))
def test_gloo_irecv_then_send_as_measured(ranks: int) -> None:
    assert verdicts(irecv_then_send(ranks, nbytes=16 * MIB), "gloo", "rendezvous") == [OK, OK]


def irecv_then_send(ranks: int, *, nbytes: int) -> Program:
    return program(
        [
            Irecv(peer=(rank - 1) % ranks, request="r"),
            Send(peer=(rank + 1) % ranks, nbytes=nbytes),
            Wait(requests=("r",)),
        ]
        for rank in range(ranks)
    )


MPICH_TABLE: list[tuple[Style, str, int, str]] = [
    ("send", "send-first", 1, OK),
    ("send", "send-first", 8112, OK),
    ("send", "send-first", 8113, HANG),
    ("send", "send-first", MIB, HANG),
    ("send", "send-first", 16 * MIB, HANG),
    *[("isend", "send-first", nbytes, OK) for nbytes in (1, 8113, MIB)],  # Isend, Recv, Wait
    *[("batch", "send-first", nbytes, OK) for nbytes in (1, 8113, MIB)],  # Sendrecv
    *[("send", "parity", nbytes, OK) for nbytes in (1, 8113, MIB)],
    *[("send", "receive-first", nbytes, HANG) for nbytes in (1, 8113, MIB)],
]


@pytest.mark.parametrize(("style", "name", "nbytes", "measured"), MPICH_TABLE)
def test_mpich_as_measured(style: Style, name: str, nbytes: int, measured: str) -> None:
    for ranks in range(2, 6):
        program = ring(ranks=ranks, rounds=1, ordering=ORDERINGS[name], style=style, nbytes=nbytes)
        assert verdicts(program, "mpich") == [measured], ranks


@pytest.mark.parametrize("nbytes", [1, 8112, MIB])
def test_a_synchronous_send_hangs_at_any_size_as_measured(nbytes: int) -> None:
    """MPI_Ssend waits for its receive, which is the definition of rendezvous."""
    for ranks in range(2, 6):
        program = ring(ranks=ranks, rounds=1, ordering=ORDERINGS["send-first"], nbytes=nbytes)
        assert verdicts(program, "rendezvous") == [HANG]


def test_the_eager_limit_is_one_of_bytes_and_not_of_messages() -> None:
    eager = program([[Send(peer=1, nbytes=8112)] * 20 + [Send(peer=1, nbytes=8113), Recv(peer=1)], both_ways(21)])
    assert verdicts(eager, "mpich", "gloo") == [OK, OK]
    first = program([[Send(peer=1, nbytes=8113), Recv(peer=1)], [Send(peer=0, nbytes=1), Recv(peer=0)]])
    assert verdicts(first, "mpich") == [OK]  # rank 1 goes on, so rank 0's large message is taken
    assert verdicts(first, "gloo") == [HANG]


def both_ways(receives: int) -> list[Operation]:
    return [*[Recv(peer=0)] * receives, Send(peer=0)]


@pytest.mark.parametrize("capacity", range(4))
def test_a_bounded_channel_holds_exactly_its_capacity(capacity: int) -> None:
    def ahead(messages: int) -> Program:
        return program([[Send(peer=1)] * messages + [Recv(peer=1)], [Send(peer=0)] + [Recv(peer=0)] * messages])

    assert check(ahead(capacity + 1), bounded(capacity)).verdict == (HANG if capacity == 0 else OK)
    both = program([[Send(peer=1 - rank)] * (capacity + 1) + [Recv(peer=1 - rank)] * (capacity + 1) for rank in (0, 1)])
    assert check(both, bounded(capacity)).verdict == HANG
    assert check(both, bounded(capacity + 1)).verdict == OK


def test_each_channel_has_a_capacity_of_its_own() -> None:
    later = [Recv(peer=0, tag=9), Recv(peer=0)]
    made = program([[Send(peer=1), Send(peer=2), Send(peer=1, tag=9), Send(peer=2, tag=9)], later, later])
    assert verdicts(made, "bounded(1)", "eager", "rendezvous") == [OK, OK, HANG]


I, J, W = Isend(peer=1, request="i"), Irecv(peer=1, request="j"), Wait(requests=("i", "j"))  # noqa: E741


def test_nccl_479_send_then_receive_on_both_ranks() -> None:
    report = pair(Send(peer=1), Recv(peer=1))
    assert verdicts(report, "rendezvous", "xccl", "gloo", "eager", "bounded(1)") == [HANG, SPIN, HANG, OK, OK]
    assert verdicts(pair(Batch(ops=(I, J))), "rendezvous", "xccl", "gloo", "eager") == [OK] * 4


def test_torch_ccl_72_isend_that_waits_before_the_irecv() -> None:
    report = pair(I, J, W)
    assert verdicts(report, "xccl", "rendezvous", "gloo", "mpich", "eager") == [SPIN, HANG, OK, OK, OK]
    result = check(report, NAMED["xccl"])
    assert [(item.rank, item.op, item.waits_for) for item in result.circuit] == [
        (0, "isend(1, request=i)", (1,)),
        (1, "isend(0, request=i)", (0,)),
    ]
    cure = program([report[0], [report[1][1], report[1][0], report[1][2]]])
    assert verdicts(cure, "xccl", "gloo") == [OK, OK]


def test_ucx_8594_send_then_receive_hangs_where_rendezvous_is_selected() -> None:
    def report(nbytes: int) -> Program:
        return pair(Send(peer=1, nbytes=nbytes), Recv(peer=1))

    assert verdicts(report(8112), "mpich") == [OK]
    assert verdicts(report(8113), "mpich") == [HANG]
    assert verdicts(report(8113), "eager") == [OK]  # the buffered send of the cure


def test_nccl_2130_an_unmatched_receive_in_a_batch() -> None:
    report = program([[Batch(ops=(I, J))], [Batch(ops=(Irecv(peer=0, request="j"),))]])
    for name in ("rendezvous", "gloo", "eager"):
        result = check(report, semantics(name), engine="explorer")
        assert (result.verdict, ranks_of(result), result.circuit[0].waits_for) == (HANG, [0], (1,))


def test_rsmpi_144_every_isend_waited_for_before_the_first_irecv() -> None:
    def report(nbytes: int) -> Program:
        lists: list[list[Operation]] = [[], [], []]
        for rank, ops in enumerate(lists):
            peers = [peer for peer in range(3) if peer != rank]
            for peer in peers:
                ops += [Isend(peer=peer, request=peer, nbytes=nbytes), Wait(requests=(peer,))]
            ops += [Irecv(peer=peer, request=peer) for peer in peers]
            ops.append(Wait(requests=tuple(peers)))
        return program(lists)

    assert verdicts(report(8112), "mpich") == [OK]
    assert verdicts(report(8113), "mpich") == [HANG]


def test_sglang_38249_proxy_meets_output() -> None:
    report = program([[Send(peer=1, tag=1), Recv(peer=1, tag=2)], [Send(peer=0, tag=2), Recv(peer=0, tag=1)]])
    assert verdicts(report, "rendezvous", "eager") == [HANG, OK]
    cure = program(
        [
            [Batch(ops=(Isend(peer=1, request=1, tag=1), Irecv(peer=1, request=2, tag=2)))],
            [Batch(ops=(Isend(peer=0, request=2, tag=2), Irecv(peer=0, request=1, tag=1)))],
        ]
    )
    assert verdicts(cure, "rendezvous") == [OK]
