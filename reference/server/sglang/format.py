"""The engine's outputs in SGLang's form: all text and tokens up to now come with every event."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from reference.engine.outputs import TokenOutput
from reference.scheduling.sampling_params import SamplingParams
from reference.server.schema import MIN_LOGPROB

if TYPE_CHECKING:
    from reference.server.tokenizer import ServerTokenizer


class GenerateAccumulator:
    """One prompt's answer so far.

    eos: the model's own end tokens. token_texts: whether log-probabilities come with the tokens' texts. began: when the
    request came, by `time.perf_counter`.
    """

    def __init__(
        self,
        request_id: str,
        params: SamplingParams,
        *,
        tokenizer: ServerTokenizer,
        eos: Sequence[int],
        token_texts: bool,
        began: float,
    ) -> None:
        self._request_id, self._params, self._began = request_id, params, began
        self._tokenizer, self._eos, self._token_texts = tokenizer, eos, token_texts
        self._text: list[str] = []
        self._tokens: list[int] = []
        self._logprobs: dict[str, list[Any]] = {}

    def add(self, output: TokenOutput) -> None:
        """Takes in one more token."""
        self._text.append(output.text)
        self._tokens.append(output.token)
        wanted = self._params.logprobs
        if wanted and output.num_tokens == 1:
            first = output.prompt_logprobs
            self._logprobs["input_token_logprobs"] = [self._item(item.logprob, item.token) for item in first]
            self._logprobs["input_top_logprobs"] = [self._top(item.top) for item in first]
            self._logprobs.update(output_token_logprobs=[], output_top_logprobs=[])
        if wanted:
            self._logprobs["output_token_logprobs"].append(self._item(output.logprob, output.token))
            self._logprobs["output_top_logprobs"].append(self._top(output.top))

    def show(self, last: TokenOutput) -> dict[str, Any]:
        """The answer up to now, of which `last` is the last token."""
        shown = (
            self._logprobs if self._params.top_logprobs else {k: v for k, v in self._logprobs.items() if "top" not in k}
        )
        return {
            "text": "".join(self._text),
            "output_ids": self._tokens,
            "meta_info": {
                "id": self._request_id,
                "finish_reason": self._finish_reason(last),
                "prompt_tokens": last.prompt_tokens,
                "completion_tokens": last.num_tokens,
                "cached_tokens": 0,
                "e2e_latency": time.perf_counter() - self._began,
                **shown,
            },
        }

    def _finish_reason(self, last: TokenOutput) -> dict[str, Any] | None:
        if last.reason is None:
            return None
        if last.reason == "length":
            return {"type": "length", "length": last.num_tokens}
        if last.token in (*self._params.stop_token_ids, *(() if self._params.ignore_eos else self._eos)):
            return {"type": "stop", "matched": last.token}
        whole = self._tokenizer.tokenizer.decode(self._tokens)
        found = [stop for stop in self._params.stop if stop in whole]
        return {"type": "stop", "matched": min(found, key=whole.index, default=None)}

    def _item(self, logprob: float | None, token: int) -> list[Any]:
        return [finite(logprob), token, self._tokenizer.tokenizer.piece(token) if self._token_texts else None]

    def _top(self, top: tuple[tuple[int, float], ...]) -> list[Any] | None:
        return [self._item(logprob, token) for token, logprob in top] or None


class GenerateFormat:
    """The response of /generate.

    intervals: of each prompt, tokens from one event to the next. batch: whether the client gave a list of prompts.
    """

    def __init__(self, prompts: Sequence[GenerateAccumulator], intervals: Sequence[int], *, batch: bool) -> None:
        self._prompts, self._intervals, self._batch = prompts, intervals, batch
        self._last: dict[int, TokenOutput] = {}

    def add(self, output: TokenOutput) -> None:
        """Takes in one more token."""
        self._prompts[output.index].add(output)
        self._last[output.index] = output

    def events(self, output: TokenOutput) -> Iterator[dict[str, Any]]:
        """The events of one more token, which is taken in."""
        self.add(output)
        if (
            output.reason is not None
            or output.num_tokens == 1
            or output.num_tokens % self._intervals[output.index] == 0
        ):
            yield {**self._prompts[output.index].show(output), **({"index": output.index} if self._batch else {})}

    def whole(self) -> Any:
        """The response without a stream."""
        answers = [prompt.show(self._last[index]) for index, prompt in enumerate(self._prompts)]
        return answers if self._batch else answers[0]


def finite(logprob: float | None) -> float | None:
    """JSON has no infinity: a token that cannot come has `MIN_LOGPROB`."""
    return None if logprob is None else max(logprob, MIN_LOGPROB)
