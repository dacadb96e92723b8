"""Hangs that users reported, as small programs: what was seen, under which library, and what was said to cure it.

Sizes that a report does not give are chosen on the far side of the library's limit. `diagnosis` explains them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from model.pipelines.torch_schedules import program_of, schedule
from model.program.checked import Program
from model.program.text_form import parse_program
from model.semantics.libraries import LARGE

ITERATIONS = 20
"""Of ACCL#139, which makes 2000: the verdict is the same, and pictures and traces stay readable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedCure:
    """A cure of a report, as a program. library: where it differs. works: what the report says of it."""

    what: str
    program: Program
    library: str = ""
    works: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedHang:
    """A hang that a user reported, as a program.

    library: a name of `libraries`. stuck: the ranks that were seen to hang. unexplained: what the model does not
    account for.
    """

    name: str
    reported: str
    program: Program
    library: str
    stuck: tuple[int, ...] = (0, 1)
    cures: tuple[ReportedCure, ...] = field(default=())
    unexplained: str = ""


def _program(content: str) -> Program:
    return parse_program(content.replace("LARGE", str(LARGE)))


def _ring(ranks: int, step: str) -> str:
    """The same line for every rank; `next` and `prev` are its neighbours."""
    lines = (
        f"{rank}: " + step.replace("next", str((rank + 1) % ranks)).replace("prev", str((rank - 1) % ranks))
        for rank in range(ranks)
    )
    return "\n".join(lines)


def _parity(ranks: int, even: str, odd: str) -> str:
    return "\n".join(_ring(ranks, odd if rank % 2 else even).splitlines()[rank] for rank in range(ranks))


def _schedule(*rows: str) -> Program:
    return program_of(schedule(row.split() for row in rows), nbytes=LARGE)


@cache
def known_hangs() -> tuple[ReportedHang, ...]:
    """Every one, in the order of the list that the project started from."""
    return (
        ReportedHang(
            name="nccl#479",
            reported="both ranks send, then receive: stuck",
            library="nccl",
            program=_program(_ring(2, "send(next, nbytes=LARGE); recv(prev)")),
            cures=(
                ReportedCure(
                    what="group the pair",
                    program=_program(_ring(2, "batch(isend(next, request=s, nbytes=LARGE), irecv(prev, request=r))")),
                ),
            ),
        ),
        ReportedHang(
            name="torch-ccl#72",
            reported="both ranks isend, irecv, wait: deadlock",
            library="xccl",
            program=_program(_ring(2, "isend(next, request=s); irecv(prev, request=r); wait(s, r)")),
            cures=(
                ReportedCure(
                    what="one rank sends first, the other receives first",
                    program=_program(
                        _parity(
                            2,
                            "isend(next, request=s); irecv(prev, request=r); wait(s, r)",
                            "irecv(prev, request=r); isend(next, request=s); wait(s, r)",
                        )
                    ),
                ),
            ),
        ),
        ReportedHang(
            name="torchcomms#2885",
            reported="both ranks batch irecv, isend: both hang at the end of the group",
            library="xccl-group",
            program=_program(_ring(2, "batch(irecv(prev, request=r), isend(next, request=s))")),
            cures=(
                ReportedCure(
                    what="sends before receives inside the group",
                    program=_program(_ring(2, "batch(isend(next, request=s), irecv(prev, request=r))")),
                ),
            ),
        ),
        ReportedHang(
            name="nccl#2130",
            reported="one rank batches a send with a receive that nobody sends: the receiver hangs",
            library="nccl-cold",
            stuck=(1,),
            program=_program("0: batch(isend(1, request=s), irecv(1, request=r))\n1: batch(irecv(0, request=r))"),
            cures=(
                ReportedCure(
                    what="no unmatched receive in the batch",
                    program=_program("0: batch(isend(1, request=s))\n1: batch(irecv(0, request=r))"),
                ),
            ),
        ),
        ReportedHang(
            name="pytorch#172668 (a)",
            reported="two ranks of two stages each send before they receive: stuck when sends block",
            library="rendezvous",
            program=_schedule("0SEND_F1 2RECV_F0", "1SEND_F0 1RECV_F1"),
        ),
        ReportedHang(
            name="pytorch#172668 (b)",
            reported="the odd rank receives first, and it is still stuck",
            library="rendezvous",
            # 2RECV_B1 lies behind the excerpt: 3SEND_B1 needs another end
            program=_schedule(
                "2SEND_F1 0F2 0SEND_F2 2RECV_B0 2B0 2RECV_B1",
                "3RECV_F1 3SEND_B0 3F1 3B1 1RECV_F2 3SEND_B1 1F2",
            ),
            cures=(
                ReportedCure(
                    what="swap the first pair of the odd rank",
                    program=_schedule(
                        "2SEND_F1 0F2 0SEND_F2 2RECV_B0 2B0 2RECV_B1",
                        "3SEND_B0 3RECV_F1 3F1 3B1 1RECV_F2 3SEND_B1 1F2",
                    ),
                    works=False,
                ),
            ),
        ),
        ReportedHang(
            name="PiPPy#969",
            reported="a skip connection, batched on both its ends: the batches wait for each other",
            library="nccl",
            stuck=(0, 2),
            program=_program(
                "0: batch(isend(1, request=a, nbytes=LARGE), isend(2, request=b, nbytes=LARGE))\n"
                "1: recv(0); compute(seconds=1); send(2, nbytes=LARGE)\n"
                "2: batch(irecv(0, request=a), irecv(1, request=b))"
            ),
            unexplained="the report batches the calls of rank 1 too; the model then finds no hang, because a host that "
            "waits for several connections counts as there for each of them",
        ),
        ReportedHang(
            name="ring-attention-pytorch#9",
            reported="a ring of three or more, isend first, on connections that nobody used before: hangs in isend",
            library="nccl-cold",
            stuck=(0, 1, 2),
            program=_program(_ring(3, "isend(next, request=s); irecv(prev, request=r); wait(s, r)")),
            cures=(
                ReportedCure(
                    what="batch_isend_irecv",
                    program=_program(_ring(3, "batch(isend(next, request=s), irecv(prev, request=r))")),
                ),
            ),
        ),
        ReportedHang(
            name="PaddleFleet#2080",
            reported="a ring of isends whose transfers start at their waits: deadlock",
            library="deferred",
            stuck=(0, 1, 2, 3),
            program=_program(_ring(4, "isend(next, request=s); recv(prev); wait(s)")),
            cures=(
                ReportedCure(
                    what="parity by stage",
                    program=_program(
                        _parity(
                            4,
                            "isend(next, request=s); wait(s); recv(prev)",
                            "recv(prev); isend(next, request=s); wait(s)",
                        )
                    ),
                ),
                ReportedCure(
                    what="asynchronous on both sides, on one stream",
                    program=_program(_ring(4, "isend(next, request=s); irecv(prev, request=r); wait(r, s)")),
                    library="hccl",
                    works=False,
                ),
            ),
        ),
        ReportedHang(
            name="rsmpi#144",
            reported="every rank waits for all its isends before its first irecv: fine for small messages",
            library="mpich",
            stuck=(0, 1, 2),
            program=_program(
                "0: isend(1, request=a, nbytes=LARGE); isend(2, request=b, nbytes=LARGE); wait(a, b); "
                "irecv(1, request=c); irecv(2, request=d); wait(c, d)\n"
                "1: isend(2, request=a, nbytes=LARGE); isend(0, request=b, nbytes=LARGE); wait(a, b); "
                "irecv(2, request=c); irecv(0, request=d); wait(c, d)\n"
                "2: isend(0, request=a, nbytes=LARGE); isend(1, request=b, nbytes=LARGE); wait(a, b); "
                "irecv(0, request=c); irecv(1, request=d); wait(c, d)"
            ),
            cures=(
                ReportedCure(
                    what="post receives first",
                    program=_program(
                        "0: irecv(1, request=c); irecv(2, request=d); isend(1, request=a, nbytes=LARGE); "
                        "isend(2, request=b, nbytes=LARGE); wait(a, b); wait(c, d)\n"
                        "1: irecv(2, request=c); irecv(0, request=d); isend(2, request=a, nbytes=LARGE); "
                        "isend(0, request=b, nbytes=LARGE); wait(a, b); wait(c, d)\n"
                        "2: irecv(0, request=c); irecv(1, request=d); isend(0, request=a, nbytes=LARGE); "
                        "isend(1, request=b, nbytes=LARGE); wait(a, b); wait(c, d)"
                    ),
                ),
            ),
        ),
        ReportedHang(
            name="ucx#8594",
            reported="pairs exchange by a blocking send and a receive: hangs where rendezvous is selected",
            library="eager(8192)",
            stuck=(0, 1, 2, 3),
            program=_program(
                "0: send(1, nbytes=LARGE); recv(1)\n1: send(0, nbytes=LARGE); recv(0)\n"
                "2: send(3, nbytes=LARGE); recv(3)\n3: send(2, nbytes=LARGE); recv(2)"
            ),
            cures=(
                ReportedCure(
                    what="buffered send",
                    program=_program(
                        "0: bsend(1, nbytes=LARGE); recv(1)\n1: bsend(0, nbytes=LARGE); recv(0)\n"
                        "2: bsend(3, nbytes=LARGE); recv(3)\n3: bsend(2, nbytes=LARGE); recv(2)"
                    ),
                ),
            ),
        ),
        ReportedHang(
            name="ACCL#139",
            reported="many times send and receive on two ranks: stuck after several, sooner for large messages",
            library="fifo(1048576)",
            program=_program(_ring(2, "; ".join(["send(next, nbytes=LARGE); recv(prev)"] * ITERATIONS))),
            unexplained="several iterations pass before it hangs; here never more than one message of a channel waits, "
            "so a buffer that is given back hangs in the first iteration or in none",
        ),
        ReportedHang(
            name="sglang#38249",
            reported="two stages: one sends activations while the other sends outputs: stuck",
            library="hccl",
            program=_program(
                "0: isend(1, tag=1, request=s, nbytes=LARGE); irecv(1, tag=2, request=r); wait(s, r)\n"
                "1: isend(0, tag=2, request=s, nbytes=LARGE); irecv(0, tag=1, request=r); wait(s, r)"
            ),
            cures=(
                ReportedCure(
                    what="batch the pair",
                    program=_program(
                        "0: batch(isend(1, tag=1, request=s, nbytes=LARGE), irecv(1, tag=2, request=r))\n"
                        "1: batch(isend(0, tag=2, request=s, nbytes=LARGE), irecv(0, tag=1, request=r))"
                    ),
                ),
            ),
        ),
        ReportedHang(
            name="VeOmni#1085",
            reported="parity also selects the process group: on an odd ring the pair (P - 1, 0) never matches",
            library="nccl",
            stuck=(0,),
            program=_program(_parity_groups(3)),
            cures=(ReportedCure(what="reject odd sizes (here: a ring of 4)", program=_program(_parity_groups(4))),),
        ),
    )


def _parity_groups(ranks: int) -> str:
    return _parity(
        ranks,
        "isend(next, request=s, comm=A); irecv(prev, request=r, comm=B); wait(s, r)",
        "irecv(prev, request=r, comm=A); isend(next, request=s, comm=B); wait(r, s)",
    )
