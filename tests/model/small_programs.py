"""Random small programs without wildcards, in every operation, for engines that are held against each other."""

from typing import Any

from hypothesis import strategies as st

from model.program.checked import Program, program
from model.program.ops import Barrier, Batch, Compute, Irecv, Isend, Operation, Probe, Recv, Send, Sendrecv, Wait
from model.semantics.libraries import NAMED, bounded, fifo

any_semantics = st.sampled_from(list(NAMED.values())) | st.integers(0, 2).map(bounded) | st.integers(1, 3).map(fifo)


@st.composite
def programs(draw: st.DrawFn, *, most: int = 5, native: bool = False) -> Program:
    """Messages whose two ends go to random places of their ranks' lists; `native`: only sends, receives and waits."""
    ranks = draw(st.integers(2, 3))
    lists: list[list[list[Operation]]] = [[] for _ in range(ranks)]  # what must stay together stands together

    def put(rank: int, *ops: Operation) -> None:
        back = min(len(lists[rank]), draw(st.sampled_from([0, 0, 0, 1])))
        lists[rank].insert(len(lists[rank]) - back, list(ops))

    for request in range(draw(st.integers(1, most))):
        source = draw(st.integers(0, ranks - 1))
        target = (source + draw(st.sampled_from([1, 1, 1, 2, 0]))) % ranks
        sent: dict[str, Any] = {
            "peer": target,
            "tag": draw(st.sampled_from([0, 0, 1])),
            "nbytes": draw(st.sampled_from([1, 2, 9000])),
        }
        received = {"peer": source, "tag": sent["tag"]}
        mode = draw(st.sampled_from(["standard", "standard", "sync", "buffered"]))
        for rank, style in ((source, draw(_STYLES)), (target, draw(_STYLES))):
            if draw(st.integers(0, 14)) == 14:
                continue  # the other end is left alone
            sends, name = rank == source and style != "probe", f"{request}.{rank}.{style}"
            if rank == source == target and style == "group":
                put(rank, Batch(ops=(Isend(**sent, request="s"), Irecv(**received, request="r"))))
                break
            if source == target and style != "posted":
                style = "posted"
            if style == "posted" or style == "late":
                one = Isend(**sent, request=name, mode=mode) if sends else Irecv(**received, request=name)
                apart = style == "late"
                put(rank, one, *([] if apart else [Wait(requests=(name,))]))
                if apart:
                    lists[rank].append([Wait(requests=(name,))])
            elif style == "group":
                put(rank, Batch(ops=(Isend(**sent, request=0) if sends else Irecv(**received, request=0),)))
            elif rank == source:
                put(rank, Send(**sent, mode=mode))
            elif style == "probe" and not native:
                put(rank, Probe(**received), Recv(**received))
            else:
                put(rank, Recv(**received))
    if not native and draw(st.booleans()):
        for ops in lists:
            ops.insert(draw(st.integers(0, len(ops))), [Barrier()])
    if not native and draw(st.booleans()):
        for rank, ops in enumerate(lists):
            ops.append([Sendrecv(peer=(rank + 1) % ranks, source=(rank - 1) % ranks, tag=3, source_tag=3)])
    lists[0].append([Compute()])
    return program([op for together in ops for op in together] for ops in lists)


_STYLES = st.sampled_from(["blocking", "blocking", "posted", "late", "group", "probe"])
