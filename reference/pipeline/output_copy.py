"""Copies output messages from the device to the host, beside whatever the device computes next.

Shapes: N numbers of an output message (see `reference.pipeline.output_message`).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from reference.device import HOST, Device, HostEvent
from reference.pipeline.output_message import decode_output
from reference.scheduling.batch import NO_LOGPROBS, BatchLogprobs, ScheduleBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingOutput:
    """A batch's message [N], and its copy on the host, which is complete once `copied` has happened."""

    batch: ScheduleBatch
    message_N: Tensor
    on_host_N: Tensor
    copied: Any

    def decode(self, batch: ScheduleBatch) -> tuple[list[int], BatchLogprobs]:
        """Tokens and log-probabilities of `batch`, whose requests are of the message's batch; waits for the copy."""
        self.copied.synchronize()
        tokens, scores = decode_output(self.batch, self.on_host_N)
        if batch.requests == self.batch.requests:
            return tokens, scores
        indices = indices_in(self.batch, batch)
        output = {at: scores.output[index] for at, index in enumerate(indices) if index in scores.output}
        return [tokens[index] for index in indices], BatchLogprobs(output=output) if output else NO_LOGPROBS


class OutputCopier:
    """Starts the copies of one device's messages, on a stream of their own."""

    def __init__(self, device: Device) -> None:
        self._device, self._copies = device, device.stream()

    def on_copy_stream(self) -> AbstractContextManager[Any]:
        """A context whose work goes to that stream: what is received, and passed on, inside waits for no forward."""
        return self._device.on_stream(self._copies)

    def start(self, batch: ScheduleBatch, message_N: Tensor, *, received: bool = False) -> PendingOutput:
        """The message on its way to the host. What is queued after this call does not hold it up; of one that was
        `received` on that stream neither does what was queued before."""
        if message_N.is_cpu:
            return PendingOutput(batch=batch, message_N=message_N, on_host_N=message_N, copied=HostEvent())
        if not received:
            self._copies.wait_stream(self._device.current_stream())
        with self.on_copy_stream():
            on_host_N = message_N.to(HOST, non_blocking=True)
            copied = self._copies.record_event()
        return PendingOutput(batch=batch, message_N=message_N, on_host_N=on_host_N, copied=copied)


def indices_in(whole: ScheduleBatch, part: ScheduleBatch) -> list[int]:
    """Where in the batch `whole` the requests of `part` are, which all are there."""
    at = {request.id: index for index, request in enumerate(whole.requests)}
    return [at[request.id] for request in part.requests]
