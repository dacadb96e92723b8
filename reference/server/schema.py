"""Types of request fields, shared by both APIs. Nothing is dropped in silence: an unknown field is an error, and one
that asks for what is not implemented may only hold null, or the number that changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from reference.scheduling.sampling_params import MAX_STOPS, MAX_TOP_LOGPROBS, SEED_BOUND, SamplingParams


def _only(taken: float | bool | list[Any] | None) -> BeforeValidator:
    """Says of another value of its kind that it is not implemented, where the schema's bound would only say no."""
    kinds: Mapping[type, Any] = {bool: bool, list: list, type(None): object}
    kind = kinds.get(type(taken), (int, float))

    def check(value: Any) -> Any:
        if isinstance(value, kind) and value != taken:
            raise PydanticCustomError(
                "not_implemented",
                "what this asks for is not implemented; leave it out, or give {taken}",
                {"taken": json.dumps(taken)},
            )
        return value

    return BeforeValidator(check)


OnlyZero = Annotated[float, _only(0), Field(ge=0, le=0)]
"""A penalty or bias that is not implemented: only 0 is taken."""

OnlyOne = Annotated[float, _only(1), Field(ge=1, le=1)]
"""A factor or count that is not implemented: only 1 is taken."""

OnlyFalse = Annotated[Literal[False], _only(False)]
OnlyTrue = Annotated[Literal[True], _only(True)]
OnlyNull = Annotated[None, _only(None)]
"""What is not implemented: only that it is off, on, or null is taken."""

OnlyEmpty = Annotated[list[Any], _only([]), Field(max_length=0)] | None
"""A list of what is not implemented: only an empty one is taken."""

PositiveInt = Annotated[int, Field(ge=1, le=2**31 - 1)]
Probability = Annotated[float, Field(gt=0, le=1)]
Temperature = Annotated[float, Field(ge=0, le=1e6)]
Seed = Annotated[int, Field(ge=-SEED_BOUND, lt=SEED_BOUND)]
TopLogprobs = Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)]

TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Tokens = Annotated[list[TokenId], Field(fail_fast=True)]
"""A list that is wrong is wrong at its first mistake: to gather millions of them would hold up everybody."""

MAX_ITEMS = 2**14
"""Prompts of one request, or messages of a conversation."""

MAX_FIELDS = 100
"""Far more than any object here has."""

Item = TypeVar("Item")
BoundedList = Annotated[list[Item], Field(fail_fast=True, max_length=MAX_ITEMS)]
TokenLists = BoundedList[Tokens]
Texts = BoundedList[str]
StopText = Annotated[str, Field(min_length=1)]
Stop = StopText | Annotated[list[StopText], Field(max_length=MAX_STOPS)] | None


MinTokens = Annotated[int, Field(ge=0, lt=2**31, description="Without stop strings")]
"""Tokens that an answer shall have at least: see `with_min_tokens`."""


MIN_LOGPROB = -9999.0
"""Stands for minus infinity, which JSON does not have."""


class StrictModel(BaseModel):
    """A JSON object whose numbers are numbers and whose unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, data: Any) -> Any:
        if isinstance(data, dict) and len(data) > MAX_FIELDS:
            raise ValueError(f"an object of {len(data)} fields; none has more than {MAX_FIELDS}")
        return data


def stop_strings(stop: Stop) -> tuple[str, ...]:
    """The stop strings, however they were given."""
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def with_min_tokens(name: str, least: int | None, params: SamplingParams) -> SamplingParams:
    """The parameters with so many new tokens at least. Raises ValueError, by the field's name, where they cannot."""
    if least and (params.stop or least > params.max_new_tokens):
        raise ValueError(
            f"{name} is {least}; it is taken without stop strings, "
            f"and up to the most new tokens of the request ({params.max_new_tokens})"
        )
    return replace(params, min_new_tokens=least or 0)
