"""`python -m reference bench`: the five figures of one batch."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from reference.cli.bench_protocol import (
    WARM_UP_INPUT,
    WARM_UP_OUTPUT,
    BatchRun,
    Case,
    Target,
    as_json,
    cases,
    check_lengths,
    run_all,
    table,
    warm_ups,
)
from reference.cli.console import describe, engine_config, log
from reference.config import EngineConfig
from reference.option_checks import check_file
from reference.ranks import processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench(EngineConfig):
    """Measure one batch as SGLang's bench_one_batch_server does: every combination of the lengths, after a warm-up.
    In this process, which needs no web framework; or, with --base-url, a server that speaks SGLang's protocol.
    Standard output holds one table. --seed also draws the prompts; --context-length grows to what the cases need.

    Exit status: 0 ok; 1 the pipeline hung, or a rank died; 2 bad usage or bad input; 130 interrupted.
    """

    batch_size: tuple[int, ...] = (1,)
    """Prompts in one request."""
    input_len: tuple[int, ...] = (1024,)
    """Tokens of each prompt, drawn at random."""
    output_len: tuple[int, ...] = (16,)
    """New tokens for each prompt."""
    base_url: str = ""
    """Measure the server at this address, such as http://127.0.0.1:30000."""
    skip_warmup: bool = False
    """Do not first run a case of input 1024 and output 16, or what the model has room for, for each batch size."""
    result_filename: Path | None = None
    """Append one JSON object a case to this file, with the moment at which every token arrived."""

    def __post_init__(self) -> None:
        """Checks nothing: `run` does (see `engine_config`)."""

    def run(self) -> int:
        from reference.cli.bench_targets import InProcessTarget, UrlTarget

        config = engine_config(self)
        timed = cases(self.batch_size, self.input_len, self.output_len)
        if not timed:
            raise ValueError("there is no case; give at least one --batch-size, --input-len and --output-len")
        if self.result_filename is not None:
            check_file("result-filename", self.result_filename)
        if self.base_url:
            runs = self._run_all(UrlTarget(self.base_url), timed)
        else:
            with processes.preload_fork_server():
                from reference.engine.engine import (
                    Engine,  # torch is slow to import; the ranks import it at the same time
                )

            longest = max(case.input_len + case.output_len for case in timed)
            if not self.skip_warmup:
                longest = max(longest, WARM_UP_INPUT + WARM_UP_OUTPUT)
            not_started = Engine(replace(config, context_length=max(config.context_length, longest)))
            check_lengths(timed, not_started.config.context_length)
            with not_started as engine:
                log(describe(engine))
                runs = self._run_all(InProcessTarget(engine), timed)
        print(table(runs))
        if self.result_filename is not None:
            with self.result_filename.open("a") as file:
                file.writelines(json.dumps(as_json(*run)) + "\n" for run in runs)
        return 0

    def _run_all(self, target: Target, timed: list[Case]) -> list[tuple[str, BatchRun]]:
        """All cases after their warm-up, if there is one."""
        check_lengths(timed, target.context_length)
        warm = [] if self.skip_warmup else warm_ups(self.batch_size, target.context_length)
        return run_all(target, warm, timed, self.seed, log)
