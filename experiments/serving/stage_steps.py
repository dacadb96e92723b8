"""The steps of one stage alone: what they take, launched as the pipeline launches them."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reference.device import Device
    from reference.scheduling.batch import ScheduleBatch


def random_batch(
    random: Random, start: int, length: int, *, vocabulary: int, batch: int, output_len: int
) -> ScheduleBatch:
    """Random tokens: `length` of each of `batch` requests, from position `start` on."""
    from reference.scheduling.batch import ScheduleBatch
    from reference.scheduling.request import Request

    prompts = [tuple(random.choices(range(vocabulary), k=length)) for _ in range(batch)]
    return ScheduleBatch(
        requests=tuple(Request(id=at, prompt=prompts[at], max_new_tokens=output_len) for at in range(batch)),
        rows=tuple(range(batch)),
        starts=(start,) * batch,
        tokens=tuple(prompts),
        lengths=(length,) * batch,
    )


def seconds_of(work: Callable[[], None], where: Device, count: int, warm: int) -> list[float]:
    """What the work takes each of `count` times after `warm` uncounted ones, until the device has done it."""
    seconds = []
    for turn in range(-warm, count):
        where.synchronize()
        began = time.perf_counter()
        work()
        where.synchronize()
        if turn >= 0:
            seconds.append(round(time.perf_counter() - began, 7))
    return seconds


def launch(given: ScheduleBatch, hidden: Any, run: Any, cache: Any, *, first: bool, last: bool) -> None:
    """As `Pipeline` launches a microbatch."""
    from reference.pipeline.input_tensors import forward_batch, input_ids
    from reference.pipeline.output_message import encode_output

    inputs = input_ids(given) if first else hidden
    out = run(inputs, forward_batch(given), cache, every_position=given.scored)
    if last:
        encode_output(given, out)
