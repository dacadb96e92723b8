"""The serving loop: its control flow by hand, and what its ranks agree on."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import check
from model.pipelines.serving import CONTROL, DATA, OUTPUT, PROXY, REQUESTS, Phase, Step, serving_loop, unroll
from model.program.ops import Compute, Isend, Recv, Wait
from model.rings.orderings import NAMED as ORDERINGS
from model.verdict.arguments import communicators


def steps(*, rank: int, ranks: int, depth: int, present: Sequence[bool], ordering: str = "parity") -> list[Step]:
    """What one rank does while iteration n forms a batch iff `present[n]`: a driver of its own, unlike `unroll`."""
    loop = serving_loop(rank=rank, ranks=ranks, depth=depth, ordering=ORDERINGS[ordering])
    done = [next(loop)]
    iteration = 0
    while True:
        answer = None
        if done[-1].phase in (Phase.POLL, Phase.RECV_REQUESTS):
            answer = iteration < len(present)
        elif done[-1].phase is Phase.FORM:
            answer = iteration < len(present) and present[iteration]
            iteration += 1
        try:
            done.append(loop.send(answer))
        except StopIteration:
            return done


def shown(done: list[Step]) -> list[str]:
    return [f"{step.phase.value} {step.slot}" for step in done]


def test_one_batch_through_two_ranks_by_hand() -> None:
    """P = 2, d = 0: formed in iteration 0, back in iteration 1, passed on by rank 0 in iteration 2, idle in 3."""
    assert shown(steps(rank=0, ranks=2, depth=0, present=[True])) == [
        "poll 0",
        "send requests 0",
        "form batch 0",
        "launch forward 0",
        "send proxy 0",
        #
        "poll 1",
        "wait for send 1",  # the requests
        "send requests 1",
        "form batch 1",
        "wait for send 1",  # the proxy
        "receive output 0",
        "finish batch 0",
        #
        "poll 0",
        "wait for send 0",
        "send requests 0",
        "form batch 0",
        "send output 0",  # round the ring
        #
        "poll 1",
        "wait for send 1",
        "send requests 1",
        "form batch 1",
        "wait for send 1",  # the requests
        "wait for send 1",  # the output
    ]
    assert shown(steps(rank=1, ranks=2, depth=0, present=[True])) == [
        "receive requests 0",
        "form batch 0",
        "receive proxy 0",
        "launch forward 0",
        "send output 0",
        #
        "receive requests 1",
        "form batch 1",
        "wait for send 1",  # the output
        "receive output 0",
        "finish batch 0",
        #
        "receive requests 0",
        "form batch 0",
        #
        "receive requests 1",
        "form batch 1",
    ]


def test_with_async_depth_the_output_leaves_before_the_next_launch() -> None:
    """P = 2, d = 1, two batches: the last rank sends batch 0 in iteration 1, before it launches batch 1."""
    assert shown(steps(rank=1, ranks=2, depth=1, present=[True, True]))[:12] == [
        "receive requests 0",
        "form batch 0",
        "receive proxy 0",
        "launch forward 0",
        #
        "receive requests 1",
        "form batch 1",
        "receive proxy 1",
        "send output 0",
        "launch forward 1",
        #
        "receive requests 2",
        "form batch 2",
        "wait for send 2",
    ]


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_one_rank_needs_no_messages(depth: int) -> None:
    done = steps(rank=0, ranks=1, depth=depth, present=[True, False, True])
    assert all(step.op is None or isinstance(step.op, Compute) for step in done)
    count = {phase: sum(step.phase is phase for step in done) for phase in Phase}
    assert count[Phase.LAUNCH] == count[Phase.KEEP_OUTPUT] == count[Phase.FINISH] == 2
    made = unroll(ranks=1, depth=depth, ordering=ORDERINGS["send-first"], present=[True, False, True])
    assert made == ((Compute(label="forward 0"), Compute(label=f"forward {2 % (1 + depth)}")),)
    assert communicators(made) == frozenset()
    assert check(made, "rendezvous").verdict == "ok"


def test_messages_have_their_kind_peer_and_communicator() -> None:
    made = unroll(ranks=3, depth=0, ordering=ORDERINGS["parity"], present=[True], nbytes=4096, seconds=0.25)
    sends = [(rank, op) for rank, ops in enumerate(made) for op in ops if isinstance(op, Isend)]
    assert {(rank, op.tag, op.peer, op.comm, op.nbytes) for rank, op in sends} == {
        *((rank, REQUESTS, rank + 1, CONTROL, 1) for rank in (0, 1)),
        *((rank, PROXY, rank + 1, DATA, 4096) for rank in (0, 1)),
        (2, OUTPUT, 0, DATA, 4096),
        (0, OUTPUT, 1, DATA, 4096),
        (1, OUTPUT, 2, DATA, 4096),  # and the last rank does not pass on what came round
    }
    assert {op.seconds for ops in made for op in ops if isinstance(op, Compute)} == {0.25}


points = st.tuples(st.integers(1, 6), st.integers(0, 3), st.sampled_from(sorted(ORDERINGS)), st.lists(st.booleans()))


@given(points)
def test_every_rank_ends_in_the_same_iteration_and_finishes_what_it_formed(
    point: tuple[int, int, str, list[bool]],
) -> None:
    ranks, depth, name, present = point
    slots = ranks + depth
    formed = [number for number, batch in enumerate(present) if batch]
    # the last output comes back L - 1 iterations after its batch and is passed on in the next; then the loop ends
    last = max([len(present), *(number + slots + (ranks > 1) for number in formed[-1:])])
    for rank in range(ranks):
        iteration, launched, finished = -1, [], []
        for step in steps(rank=rank, ranks=ranks, depth=depth, present=present, ordering=name):
            iteration += step.phase in (Phase.POLL, Phase.RECV_REQUESTS)
            if step.phase is Phase.LAUNCH:
                assert step.slot == iteration % slots
                launched.append(iteration)
            elif step.phase is Phase.FINISH:
                assert step.slot == (iteration + 1) % slots
                finished.append(iteration)
        assert launched == formed
        assert finished == [number + slots - 1 for number in formed]
        assert iteration == last


@given(points)
def test_sender_and_receiver_agree_on_the_order_of_every_channel(point: tuple[int, int, str, list[bool]]) -> None:
    ranks, depth, name, present = point
    made = unroll(ranks=ranks, depth=depth, ordering=ORDERINGS[name], present=present)
    for rank, following in ((rank, (rank + 1) % ranks) for rank in range(ranks)):
        for comm in (CONTROL, DATA):
            sent = [op.tag for op in made[rank] if isinstance(op, Isend) and (op.peer, op.comm) == (following, comm)]
            taken = [op.tag for op in made[following] if isinstance(op, Recv) and (op.peer, op.comm) == (rank, comm)]
            assert sent == taken
    for ops in made:
        requests = [op.request for op in ops if isinstance(op, Isend)]
        waited = [request for op in ops if isinstance(op, Wait) for request in op.requests]
        assert sorted(map(str, requests)) == sorted(map(str, waited))  # every send is waited for


@given(points)
def test_unroll_is_what_a_driver_sees(point: tuple[int, int, str, list[bool]]) -> None:
    ranks, depth, name, present = point
    made = unroll(ranks=ranks, depth=depth, ordering=ORDERINGS[name], present=present)
    for rank in range(ranks):
        done = steps(rank=rank, ranks=ranks, depth=depth, present=present, ordering=name)
        assert [str(op) for op in made[rank]] == [str(step.op) for step in done if step.op is not None]


@pytest.mark.parametrize(
    ("rank", "ranks", "depth", "named"),
    [(2, 2, 0, "no rank 2"), (-1, 2, 0, "no rank -1"), (0, 0, 0, "no rank 0"), (0, 2, -1, "depth is -1")],
)
def test_a_wrong_loop_is_an_error_that_names_the_value(rank: int, ranks: int, depth: int, named: str) -> None:
    loop = serving_loop(rank=rank, ranks=ranks, depth=depth, ordering=ORDERINGS["parity"])
    with pytest.raises(ValueError, match=named):
        next(loop)


def test_unroll_checks_too() -> None:
    with pytest.raises(ValueError, match="depth is -1"):
        unroll(ranks=2, depth=-1, ordering=ORDERINGS["parity"], present=[True])
    with pytest.raises(ValueError, match="without ranks"):
        unroll(ranks=0, depth=0, ordering=ORDERINGS["parity"], present=[True])
