"""What can be benchmarked: an engine in this process, or a server at a URL. Needs no web framework."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from http.client import HTTPException
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from reference.cli.bench_protocol import ChunkArrival
from reference.scheduling.sampling_params import SamplingParams

if TYPE_CHECKING:
    from reference.engine.engine import Engine, TokenOutput

TIMEOUT = 600.0
"""Seconds without a byte from a server, as upstream has it."""

INFO, MODELS = "/get_server_info", "/v1/models"

USUAL_VOCABULARY = 16384
"""Tokens drawn for a server that does not say how many it knows: fewer than any model of today has."""


class InProcessTarget:
    """An engine in this process. Times are those at which the engine's thread hands tokens out."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.vocabulary = engine.shape.vocab_size
        self.context_length = engine.config.context_length

    def flush(self) -> None:
        """Nothing is kept between requests; raises ValueError where some are under way."""
        if not self._engine.is_idle():
            raise ValueError("the engine has requests under way; wait for their end")

    def run(self, prompts: Sequence[Sequence[int]], output_len: int) -> tuple[list[ChunkArrival], float]:
        """Continues all prompts as one batch."""
        news: SimpleQueue[tuple[float, TokenOutput | Exception]] = SimpleQueue()
        arrivals: list[ChunkArrival] = []
        began = time.perf_counter()
        ticket = self._engine.submit(
            prompts,
            SamplingParams(max_new_tokens=output_len, ignore_eos=True),
            lambda item: news.put((time.perf_counter() - began, item)),
        )
        unfinished = len(prompts)
        try:
            while unfinished:
                seconds, item = news.get()
                if isinstance(item, Exception):
                    raise item
                arrivals.append(ChunkArrival(prompt_index=item.index, num_tokens=item.num_tokens, seconds=seconds))
                unfinished -= item.reason is not None
        finally:
            ticket.cancel()
        return arrivals, arrivals[-1].seconds

    def decode_rate(self) -> float:
        """The engine's own."""
        return self._engine.stats().decode_rate


class UrlTarget:
    """A server that speaks SGLang's protocol. Raises ValueError where it refuses, RuntimeError where it fails."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"base-url is {url!r}; give one such as http://127.0.0.1:30000")
        self._url = url.rstrip("/")
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy would be measured too
        with self._talk(INFO) as response:
            info = _object(response)
            self.vocabulary = int(info.get("vocab_size") or USUAL_VOCABULARY)
            if self.vocabulary < 1:
                raise ValueError(f"vocab_size is {self.vocabulary}")
            self._told = info.get("context_length")

    @cached_property
    def context_length(self) -> int | None:
        """Tokens that a prompt and its new ones may have together, as the server says; None where it does not.

        One that was started without that option may say it of its model alone.
        """
        if self._told is not None:
            return int(self._told)
        try:
            with self._talk(MODELS) as response:
                length = _object(response)["data"][0].get("max_model_len")
                return None if length is None else int(length)
        except (ValueError, RuntimeError):
            return None

    def flush(self) -> None:
        """Drops the server's cache."""
        with self._talk("/flush_cache", {}):
            pass

    def run(self, prompts: Sequence[Sequence[int]], output_len: int) -> tuple[list[ChunkArrival], float]:
        """Continues all prompts by one request, whose events are timed as they come."""
        asked = {
            "input_ids": prompts,
            "sampling_params": {"temperature": 0.0, "max_new_tokens": output_len, "ignore_eos": True},
            "return_logprob": False,
            "stream": True,
        }
        arrivals: list[ChunkArrival] = []
        began = time.perf_counter()
        with self._talk("/generate", asked) as response:
            for data in _events(response):
                num_tokens = int(data["meta_info"]["completion_tokens"])
                index = range(len(prompts))[data.get("index", 0)]
                seconds = time.perf_counter() - began
                arrivals.append(ChunkArrival(prompt_index=index, num_tokens=num_tokens, seconds=seconds))
            latency = time.perf_counter() - began
            answered = {item.prompt_index for item in arrivals}
            if answered != set(range(len(prompts))):
                raise ValueError(f"tokens came for {len(answered)} of {len(prompts)} prompts")
        return arrivals, latency

    def decode_rate(self) -> float:
        """The server's own."""
        with self._talk(INFO) as response:
            inside = _object(response).get("internal_states") or [{}]
            return float(inside[0].get("last_gen_throughput") or 0.0)

    @contextmanager
    def _talk(self, path: str, data: dict[str, Any] | None = None) -> Iterator[Any]:
        """The response to a request. What is wrong with it, also by the caller's judgement, is said in one line."""
        with self._open(path, data) as response:
            try:
                yield response
            except (HTTPException, OSError) as broken:
                raise RuntimeError(
                    f"{self._url}{path} ended before its answer did ({_said(broken)}); look at the server's messages"
                ) from None
            except (ValueError, LookupError, TypeError, AttributeError) as strange:
                raise self._stranger(path, strange) from None

    def _open(self, path: str, data: dict[str, Any] | None) -> Any:
        body = None if data is None else json.dumps(data).encode()
        try:
            request = urllib.request.Request(self._url + path, body, {"Content-Type": "application/json"})
            return self._opener.open(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as refused:
            said = _message(refused.read())
            kind = ValueError if refused.code < 500 else RuntimeError
            raise kind(f"{self._url}{path} answered with status {refused.code}: {said}") from None
        except urllib.error.URLError as wrong:
            raise ValueError(
                f"no server answers at {self._url} ({wrong.reason}); start one, or check base-url"
            ) from None
        except (HTTPException, OSError, ValueError) as strange:
            raise self._stranger(path, strange) from None

    def _stranger(self, path: str, found: Exception) -> ValueError:
        return ValueError(f"{self._url}{path} does not answer as SGLang would ({_said(found)}); check base-url")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip():.200}"


def _object(response: Any) -> dict[str, Any]:
    """The JSON object that a response holds."""
    found = json.load(response)
    if not isinstance(found, dict):
        raise ValueError(f"{found!r:.60} is no JSON object")
    return found


def _events(response: Any) -> Iterator[dict[str, Any]]:
    """The events of a stream up to its end mark. Raises RuntimeError on one that tells of an error, or a torn end."""
    for line in response:
        if not line.startswith(b"data:"):
            continue
        text = line[5:].strip()
        if text == b"[DONE]":
            return
        data: dict[str, Any] = json.loads(text)
        if "error" in data:
            raise RuntimeError(f"the server failed: {_message(text)}")
        yield data
    raise RuntimeError("the stream ended before its end mark; look at the server's messages")


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return body.decode(errors="replace").strip()[:200] or "nothing"
