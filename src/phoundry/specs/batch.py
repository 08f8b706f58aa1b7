"""Batch jobs: a file of requests in, a file of answers out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from phoundry.specs.base import Spec
from phoundry.specs.data import DataFile
from phoundry.specs.deployment import EngineName, GenerationDefaults
from phoundry.specs.job import Input
from phoundry.specs.names import AssetName
from phoundry.specs.quantization import QuantizationField, check_engine

MOST_SLOTS = 64


class BatchJobSpec(Spec):
    """`type: batch`. What is asked is in `input`: OpenAI's batch lines, or rows of a data set."""

    schema_: str | None = Field(default=None, alias="$schema")
    type: Literal["batch"]
    name: AssetName | None = None
    display_name: str = ""
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    model: Input | None = Field(
        default=None, description="Registered NAME:VERSION, catalog name or folder"
    )
    endpoint: str | None = Field(
        default=None,
        description="ENDPOINT or ENDPOINT/DEPLOYMENT: its model, engine, context and defaults",
    )
    input: Input = Field(description="A JSONL file, or a data asset NAME:VERSION")
    file: DataFile | None = Field(
        default=None, description="The bytes of `input`, handed over before; clients fill it in"
    )
    split: Literal["train", "test", "all"] = Field(
        default="all", description="Of a data asset: which rows"
    )
    parameters: GenerationDefaults = Field(
        default_factory=GenerationDefaults, description="What a line that does not say gets"
    )
    engine: EngineName | None = Field(default=None, description="Unless named: the endpoint's")
    quantization: QuantizationField = None
    context_length: int | None = Field(default=None, gt=0, description="Tokens of one conversation")
    slots: int | None = Field(
        default=None, gt=0, le=MOST_SLOTS, description="Requests answered together; else by memory"
    )
    skip_bad: int = Field(default=0, ge=0, description="So many bad lines may become error lines")
    # Azure's names: recorded, and run on this machine with a notice.
    compute: str | None = None

    @model_validator(mode="after")
    def _one_model(self) -> BatchJobSpec:
        if (self.model is None) == (self.endpoint is None):
            raise ValueError("name either a model or an endpoint, and not both")
        if self.engine is not None:
            check_engine(self.engine, self.quantization)
        return self
