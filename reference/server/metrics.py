"""Prometheus metrics. Where SGLang has a metric of the same meaning it has the same name here, for its load generators
and dashboards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from reference.server.streaming import OpenRequests

if TYPE_CHECKING:
    from reference.engine.engine import Engine

FORMAT = "text/plain; version=0.0.4; charset=utf-8"


class EngineCollector:
    """Reads the engine's state when it is asked, so serving pays nothing for it."""

    def __init__(self, engine: Engine, open_requests: OpenRequests, name: str) -> None:
        self._engine, self._open_requests, self._name = engine, open_requests, name

    def collect(self) -> Iterator[Metric]:
        """Every metric with its value now."""
        state = self._engine.stats()
        gauges = [
            ("ringproof:up", "1 while the pipeline takes requests", float(state.alive)),
            ("ringproof:quiet_seconds", "Longest time for which a rank has made no progress", state.idle_seconds),
            ("ringproof:open_http_requests", "HTTP requests that wait for tokens", len(self._open_requests)),
            ("sglang:num_running_reqs", "Requests being served", state.running),
            ("sglang:num_queue_reqs", "Requests that wait for a microbatch", state.waiting),
            ("sglang:gen_throughput", "Tokens per second at the last decode log", state.decode_rate),
        ]
        counters = [
            ("sglang:num_requests", "Requests taken", state.requests),
            ("sglang:num_aborted_requests", "Requests that nobody waited for any more", state.aborted),
            ("sglang:prompt_tokens", "Prompt tokens of the requests taken", state.prompt_tokens),
            ("sglang:generation_tokens", "Tokens generated", state.generated_tokens),
        ]
        for name, text, value in gauges:
            gauge = GaugeMetricFamily(name, text, labels=["model_name"])
            gauge.add_metric([self._name], value)
            yield gauge
        for name, text, value in counters:
            counter = CounterMetricFamily(name, text, labels=["model_name"])
            counter.add_metric([self._name], value)
            yield counter


def registry(engine: Engine, open_requests: OpenRequests, name: str) -> CollectorRegistry:
    """A registry of its own: several apps may live in one process."""
    made = CollectorRegistry()
    made.register(EngineCollector(engine, open_requests, name))
    return made


def exposition(of: CollectorRegistry) -> bytes:
    """All metrics as Prometheus reads them."""
    return generate_latest(of)
