"""Values of a wrong type: each public function says in one line what it takes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import model

PAIR = "0: send(1); recv(1)\n1: send(0); recv(0)"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: model.check(np.array([1, 2]), "nccl"), "a program is expected, and this is ndarray"),  # type: ignore[arg-type]
        (lambda: model.check(PAIR, engine="explorer", max_states="5"), "max_states is '5'"),  # type: ignore[arg-type]
        (lambda: model.compare(PAIR, 3), "libraries are expected, and this is 3"),  # type: ignore[arg-type]
        (lambda: model.compare(PAIR, [3]), "a library is expected, and this is int 3"),  # type: ignore[list-item]
        (lambda: model.conform(3), "a path is expected, and this is 3"),  # type: ignore[arg-type]
        (lambda: model.ring("parity", "4"), "ranks is '4'; give a whole number"),  # type: ignore[arg-type]
        (lambda: model.ring("parity", 4.0), "ranks is 4.0; give a whole number"),  # type: ignore[arg-type]
        (lambda: model.ring("parity", 4, rounds="2"), "rounds is '2'; give a whole number"),  # type: ignore[arg-type]
        (lambda: model.ring("parity", 4, nbytes="2"), "nbytes is '2'; give a whole number"),  # type: ignore[arg-type]
        (lambda: model.space("6"), "ranks is '6'; give a whole number"),  # type: ignore[arg-type]
        (lambda: model.vectors("6"), "ranks is '6'; give a whole number"),  # type: ignore[arg-type]
        (lambda: model.simulate(PAIR, latency="1"), "latency is '1'; give a finite number"),  # type: ignore[arg-type]
        (lambda: model.simulate(PAIR, latency=-1.0), "latency is -1.0 seconds; give a finite number"),
        (lambda: model.period(PAIR, gap=None), "gap is None; give a finite number"),  # type: ignore[arg-type]
        (lambda: model.library("nccl", eager_limit="a"), "eager_limit of .* is 'a'; give a whole number"),
        (lambda: model.library("nccl", polling="yes"), "polling of .* is 'yes'; give True or False"),
        (lambda: model.library("nccl", capacity=True), "capacity of .* is True; give a whole number"),
        (lambda: model.library("nccl", fifo=1.5), "fifo of .* is 1.5; give a whole number"),
    ],
)
def test_a_wrong_type_is_an_error_of_one_line(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        call()
    assert len(str(error.value).splitlines()) == 1


def test_numbers_of_numpy_are_numbers() -> None:
    assert model.ring("parity", np.int64(4)) == model.ring("parity", 4)  # type: ignore[arg-type]
    assert model.library("nccl", fifo=np.int64(0)).fifo == 0
    assert model.simulate(PAIR, "nccl", latency=np.float64(1e-6)).makespan == model.simulate(
        PAIR, "nccl", latency=1e-6
    ).makespan  # fmt: skip


def test_one_library_may_stand_for_a_list_of_one() -> None:
    for library in ("nccl", model.library("nccl")):
        assert list(model.compare(PAIR, library)) == ["nccl"]
    (name,) = model.compare(PAIR, {"world": "nccl"})
    assert "nccl" in name


def test_a_wildcard_receive_that_is_timed_names_no_option_of_another_command() -> None:
    for timed in (model.simulate, model.period):
        with pytest.raises(ValueError, match="ask check, which tries every one"):
            timed("0: recv(any)\n1: send(0)")
