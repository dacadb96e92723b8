"""Types of request fields, shared by both APIs. Nothing is dropped in silence: an unknown field is an error, and one
that asks for what is not implemented may only hold null, or the number that changes nothing."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from reference.params import MOST_LOGPROBS, MOST_STOPS, SEEDS

Zero = Annotated[float, Field(ge=0, le=0)]
"""A penalty or bias that is not implemented: only 0 is taken."""

One = Annotated[float, Field(ge=1, le=1)]
"""A factor or count that is not implemented: only 1 is taken."""

Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Probability = Annotated[float, Field(gt=0, le=1)]
Temperature = Annotated[float, Field(ge=0, le=1e6)]
Seed = Annotated[int, Field(ge=-SEEDS, lt=SEEDS)]
Top = Annotated[int, Field(ge=0, le=MOST_LOGPROBS)]

TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Tokens = list[TokenId]
StopText = Annotated[str, Field(min_length=1)]
Stop = StopText | Annotated[list[StopText], Field(max_length=MOST_STOPS)] | None


class Body(BaseModel):
    """A JSON object whose numbers are numbers and whose unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)


def stops(stop: Stop) -> tuple[str, ...]:
    """The stop strings, however they were given."""
    return (stop,) if isinstance(stop, str) else tuple(stop or ())
