"""What of a deployment's requests and answers is kept, under Azure ML's keys."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from phoundry.specs.base import Spec

Rolling = Literal["year", "month", "day", "hour", "minute"]


class Collection(Spec):
    enabled: bool = True
    sampling_rate: float | None = Field(
        default=None, ge=0, le=1, description="Instead of the collector's"
    )


class DataCollector(Spec):
    """`collections` are model_inputs and model_outputs; the two of a request are sampled together
    where their rates are the same, and share its id."""

    collections: dict[Literal["model_inputs", "model_outputs"], Collection] = Field(
        default_factory=lambda: {"model_inputs": Collection(), "model_outputs": Collection()}
    )
    rolling_rate: Rolling = Field(default="hour", description="A new file for each")
    sampling_rate: float = Field(default=1.0, ge=0, le=1, description="Share of requests kept")
