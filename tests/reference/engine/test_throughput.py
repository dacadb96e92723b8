"""The decode rate: notes at fixed numbers of batches, and what they count."""

from reference.engine.throughput import DecodeRate


def test_there_is_no_rate_before_the_first_note() -> None:
    rate = DecodeRate(interval=3)
    for second in range(3):  # the first only starts the clock
        rate.add(4, float(second))
    assert rate.last == 0


def test_a_note_counts_the_tokens_since_the_one_before() -> None:
    rate = DecodeRate(interval=3)
    for second in range(4):
        rate.add(4, float(second))
    assert rate.last == 4.0
    rate.add(8, 3.5)
    rate.add(8, 4.0)
    assert rate.last == 4.0
    rate.add(8, 4.5)
    assert rate.last == 24 / 1.5


def test_first_tokens_of_prompts_do_not_count_but_their_time_does() -> None:
    rate = DecodeRate(interval=2)
    for tokens, at in ((1, 0.0), (1, 1.0), (0, 2.0), (0, 3.0), (1, 4.0)):
        rate.add(tokens, at)
    assert rate.last == 0.5


def test_batches_at_one_moment_wait_for_time_to_pass() -> None:
    rate = DecodeRate(interval=1)
    rate.add(1, 0.0)
    rate.add(1, 0.0)
    assert rate.last == 0
    rate.add(1, 1.0)
    assert rate.last == 2.0
