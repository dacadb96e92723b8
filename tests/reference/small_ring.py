"""A pipeline in one thread, without tensors: the real loop and the real schedulers over a stand-in for the model.

The stand-in's next token follows from all tokens that lie in the request's cache row, so a token lost, doubled,
or put into another's row shows in every token after it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from model.pipelines.serving import Phase, Step, serving_loop
from model.rings.orderings import ordering
from reference.scheduling.batch import BatchLogprobs, ScheduleBatch
from reference.scheduling.messages import decode_input, encode_input, says_stop
from reference.scheduling.request import NewToken, Request, SchedulerInput, TokenLogprob
from reference.scheduling.scheduler import Scheduler


def ask(number: int, length: int = 3, new: int = 2, stop: tuple[int, ...] = ()) -> Request:
    """A request."""
    return Request(id=number, prompt=tuple(range(length)), max_new_tokens=new, stop=stop)


def scheduler(*, slots: int = 2, max_batch: int = 4, rows: int = 8, **options: Any) -> Scheduler:
    """A small one."""
    return Scheduler(slots=slots, max_batch=max_batch, rows=rows, **options)


def next_token(tokens: Sequence[int]) -> int:
    """The stand-in for the model: 0 to 10, and every token before it counts."""
    number = 17
    for token in tokens:
        number = (number * 31 + token + 7) % 10007
    return number % 11


def alone(request: Request) -> list[int]:
    """The tokens that the request gets when nobody else is served."""
    tokens: list[int] = []
    while len(tokens) < request.max_new_tokens and (not tokens or tokens[-1] not in request.stop):
        tokens.append(next_token([*request.prompt, *tokens]))
    return tokens


def prompt_scores(request: Request) -> tuple[TokenLogprob, ...]:
    """What the stand-in gives as log-probabilities of a prompt: minus the position."""
    first = request.prompt_logprobs_from
    if first is None:
        return ()
    return tuple(
        TokenLogprob(token=request.prompt[at], logprob=-float(at) if at else None)
        for at in range(first, len(request.prompt))
    )


class Rank:
    """One rank: `step` goes on until it must wait for a message. overlap: it launches decode steps ahead."""

    def __init__(
        self,
        rank: int,
        ranks: int,
        depth: int,
        scheduler: Scheduler,
        poll: Callable[[], SchedulerInput],
        overlap: bool = False,
    ) -> None:
        self.rank, self.last, self.scheduler, self.poll = rank, rank == ranks - 1, scheduler, poll
        self.overlap, self.computed_too_much = overlap, 0
        self._ahead: dict[int, int] = {}
        self.loop = serving_loop(rank=rank, ranks=ranks, depth=depth, ordering=ordering("send-first", ranks))
        self.inbox: dict[int, deque[Any]] = {tag: deque() for tag in range(3)}
        self.following: Rank | None = None
        self.formed: list[ScheduleBatch | None] = []
        self.tokens: list[NewToken] = []
        self.ended = False
        self._rows: dict[int, list[int]] = {}
        self._batches: dict[int, ScheduleBatch] = {}
        self._answers: dict[int, Any] = {}
        self._held: Any = None
        self._arrived: Any = None
        self._hidden: Any = None
        self._input, self._go_on = b"", True
        self._pending: Step | None = None

    def step(self) -> bool:
        """Whether anything was done."""
        done, answer = False, None
        while not self.ended:
            if self._pending is None:
                try:
                    self._pending = self.loop.send(answer)
                except StopIteration:
                    self.ended = True
                    return True
            step = self._pending
            if step.op is not None and step.op.kind == "recv" and not self.inbox[step.op.tag]:
                return done
            answer, self._pending, done = self._do(step), None, True
        return done

    def _do(self, step: Step) -> bool | None:
        slot = step.slot
        received = self.inbox[step.op.tag].popleft() if step.op is not None and step.op.kind == "recv" else None
        match step.phase:
            case Phase.POLL | Phase.RECV_REQUESTS:
                self._input = encode_input(self.poll()) if received is None else received
                self._go_on = self._go_on and not says_stop(self._input)
                return self._go_on
            case Phase.SEND_REQUESTS:
                self._send(step, self._input)
            case Phase.FORM:
                self.scheduler.apply(decode_input(self._input))
                batch = self.scheduler.schedule(slot)
                self.formed.append(batch)
                if batch is not None:
                    self._batches[slot] = batch
                return batch is not None
            case Phase.RECV_PROXY:
                self._hidden = received
            case Phase.LAUNCH:
                batch = self._batches[slot]
                if batch.planned_ahead:
                    self._answers[slot] = [self._ahead[number] for number in batch.ids], BatchLogprobs()
                else:
                    self._launch(slot, batch)
                self.computed_too_much += len(self._ahead) - len(batch.ids) * batch.planned_ahead
                self._ahead = {}
                if self.overlap:
                    self._look_ahead(slot)
            case Phase.SEND_PROXY:
                self._send(step, self._hidden)
            case Phase.SEND_OUTPUT:
                self._send(step, self._answers.pop(slot) if self.last else self._held)
                self._held = None
            case Phase.RECV_OUTPUT:
                self._arrived = received
            case Phase.KEEP_OUTPUT:
                self._arrived = self._answers.pop(slot)
            case Phase.FINISH:
                del self._batches[slot]
                self.tokens += self.scheduler.process_output(slot, *self._arrived)
                self._held = None if self.last else self._arrived
        return None

    def _send(self, step: Step, payload: Any) -> None:
        assert self.following is not None and step.op is not None
        self.following.inbox[step.op.tag].append(payload)

    def _launch(self, slot: int, batch: ScheduleBatch) -> None:
        tokens = batch.tokens if self.rank == 0 else self._hidden
        contents = []
        for row, start, new in zip(batch.rows, batch.starts, tokens, strict=True):
            cached = self._rows.setdefault(row, [])[:start]
            assert len(cached) == start, f"row {row} holds {len(cached)} tokens, not {start}"
            self._rows[row] = [*cached, *new]
            contents.append(self._rows[row])
        self._hidden = tokens
        if self.last:
            scores = [
                [TokenLogprob(token=token, logprob=-float(start + 1 + n)) for n, token in enumerate(batch.targets(at))]
                for at, start in enumerate(batch.starts)
            ]
            self._answers[slot] = (
                [next_token(row) for row in contents],
                BatchLogprobs(prompt=scores if batch.scored else ()),
            )

    def _look_ahead(self, slot: int) -> None:
        """Launches the step after the one in flight, with the tokens that only the device has."""
        planned = self.scheduler.peek_next_decode(slot)
        if planned is None:
            return
        in_flight, (tokens, _) = self._batches[slot], self._answers[slot]
        known = dict(zip(in_flight.ids, tokens, strict=True))
        after = replace(planned, tokens=tuple((known[number],) for number in planned.ids))
        held = self._answers.pop(slot)
        self._launch(slot, after)
        self._ahead = dict(zip(after.ids, self._answers[slot][0], strict=True))
        self._answers[slot] = held


def ring(
    ranks: int, depth: int, poll: Callable[[], SchedulerInput], make: Callable[[], Scheduler], overlap: bool = False
) -> list[Rank]:
    """Ranks in a ring. `poll` is asked once in every iteration of rank 0."""
    made = [Rank(rank, ranks, depth, make(), poll, overlap) for rank in range(ranks)]
    for rank in made:
        rank.following = made[(rank.rank + 1) % ranks]
    return made


def run(ranks: list[Rank]) -> None:
    """Runs all to their end."""
    while not all(rank.ended for rank in ranks):
        assert any([rank.step() for rank in ranks]), "every rank waits for a message"
