"""What the event graph says of a pipeline, where it can be counted by hand."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.serving.prediction import Hop, Measured, Times, explained, predict

REQUESTS, OUTPUT, DECODE, PREFILL = 8, 64, 65536, 2**26  # bytes


def hops(*, requests: float = 0.0, output: float = 0.0, decode: float = 0.0, prefill: float = 0.0) -> dict[str, Hop]:
    return {
        "requests_hop": Hop(nbytes=REQUESTS, seconds=requests),
        "output_hop": Hop(nbytes=OUTPUT, seconds=output),
        "decode_hop": Hop(nbytes=DECODE, seconds=decode),
        "prefill_hop": Hop(nbytes=PREFILL, seconds=prefill),
    }


NO_HOPS = Times(prefill=(1.0, 1.0), decode=(1.0, 1.0), **hops())


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_equal_stages_without_hops_are_always_busy(steps: int) -> None:
    found = predict(NO_HOPS, steps=steps, policy="send-first", data="gloo")
    assert found.ideal == pytest.approx(2 * steps + 1)  # a batch a second on each of two stages, and one to fill
    assert found.compute == pytest.approx(4 * steps)
    assert found.shared == pytest.approx(4 * steps)  # one card is never idle


def test_the_first_batch_of_a_slot_takes_its_prefill() -> None:
    times = replace(NO_HOPS, prefill=(5.0, 5.0))
    found = predict(times, steps=3, policy="send-first", data="gloo")
    assert found.compute == pytest.approx(2 * 2 * 5 + 2 * 2 * 2 * 1)
    assert found.shared == pytest.approx(found.compute)
    assert found.ideal == pytest.approx(5 * 3 + 1 * 4)  # prefills of 0, 0|1, 1; then a step each second; one drains


def test_a_slow_stage_sets_the_pace() -> None:
    found = predict(replace(NO_HOPS, decode=(1.0, 3.0)), steps=50, policy="send-first", data="gloo")
    assert found.ideal == pytest.approx(2 * 49 * 3, rel=0.05)


def test_every_hop_is_waited_for_where_two_stages_have_no_slack() -> None:
    times = replace(NO_HOPS, **hops(decode=0.5, prefill=0.5, output=0.25))
    found = predict(times, steps=20, policy="send-first", data="gloo")
    bare = predict(NO_HOPS, steps=20, policy="send-first", data="gloo")
    waits = (
        40 * (0.5 + 0.25) + 0.25
    )  # at depth 0 a proxy follows the output of the same iteration; the last is passed on
    assert found.ideal == pytest.approx(bare.ideal + waits)
    assert found.shared == pytest.approx(bare.shared + waits)
    assert found.compute == bare.compute


def test_a_message_takes_what_one_of_its_size_was_measured_to_take() -> None:
    few, many = Measured(tick=1.0, points=((0, 0), (8, 30), (64, 50))), np.array([0, 8, 36, 64, 1000])
    assert few.wire(many).tolist() == [0, 30, 40, 50, 50]


def test_only_what_fits_is_stored() -> None:
    times = replace(NO_HOPS, **hops(decode=0.5, prefill=0.5, output=0.25))
    assert (
        predict(times, steps=3, policy="send-first", data=f"fifo({2**22})").ideal
        <= predict(times, steps=3, policy="send-first", data="gloo").ideal
    )
    assert predict(times, steps=3, policy="send-first", data="bsend").compute == 12


def test_a_pipeline_that_hangs_has_no_time() -> None:
    with pytest.raises(ValueError, match="hangs, so it takes no time"):
        predict(NO_HOPS, steps=3, policy="send-first", data="rendezvous")


def test_the_sentence_is_made_of_the_figures() -> None:
    found = predict(NO_HOPS, steps=7, policy="send-first", data="gloo")
    text = (
        "All slots full, the run took 35.00 s. With a card for every stage the event graph gives 15.00 s; with one "
        "card that computes for one stage at a time 28.00 s, of which 28.00 s are compute, so sharing the card "
        "accounts for 13.00 s. The run took 7.00 s (25%) more than predicted for the shared card: that is what stage "
        "and hop times do not hold, such as switches between processes, copies beside compute, and the host's own work."
    )
    assert explained(35.0, found) == text
    assert "took 7.00 s (25%) less than predicted" in explained(21.0, found)
