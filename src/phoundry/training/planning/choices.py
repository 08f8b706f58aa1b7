"""What is chosen for a machine before a run starts, kept in `plan.json`. No torch here.

    plan.json    {"precision", "row_tokens", "recompute", "batch", "entries", "speed"}

It is written once, before the first step. A run that goes on reads it, so that it goes on with the
same arithmetic, whatever a second measurement would have said.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from phoundry.errors import InvalidInput
from phoundry.files import read_json, write_json
from phoundry.specs.job import Choice

FILE = "plan.json"
Precision = Literal["16", "32"]


class Speed(BaseModel):
    """What the few steps before the start took, with the values that were chosen."""

    model_config = ConfigDict(frozen=True)

    tokens_per_second: float = Field(gt=0, description="Forward and backward passes alone")
    optimizer_seconds: float = Field(ge=0, description="Of one optimizer step")
    evaluated_per_second: float = Field(gt=0, description="Tokens, forward passes alone")
    generated_per_second: float | None = Field(default=None, gt=0)
    written_per_second: float = Field(gt=0, description="Bytes of checkpoints, to the disk")
    start_seconds: float = Field(default=0.0, ge=0, description="Until the model was loaded")
    peak_bytes: int = Field(default=0, ge=0, description="Most resident memory of the process")


class Choices(BaseModel):
    """How the arithmetic of a run is laid out. Only `precision` changes what is computed.

    `row_tokens`: tokens of one forward pass (a longer conversation gets one of its own).
    `recompute`: a layer's inside is computed again instead of being kept (gradient checkpointing).
    `batch`: per_device_train_batch_size, where auto_find_batch_size made it smaller.
    """

    model_config = ConfigDict(frozen=True)

    precision: Precision
    row_tokens: int = Field(gt=0)
    recompute: bool = False
    batch: int | None = Field(default=None, gt=0)
    entries: list[Choice] = Field(default_factory=list[Choice])
    speed: Speed | None = None

    def arithmetic(self) -> dict[str, Any]:
        """What the bits of the result depend on."""
        return self.model_dump(include={"precision", "row_tokens", "recompute", "batch"})


def save_choices(folder: Path, choices: Choices) -> None:
    """Write `folder`/plan.json, whole or not at all."""
    write_json(folder / FILE, choices.model_dump())


def load_choices(folder: Path) -> Choices | None:
    """What `save_choices` wrote, or None where nothing was chosen yet.

    Raises:
        InvalidInput: the file is not what was written.
    """
    try:
        found = read_json(folder / FILE)
        return None if found is None else Choices.model_validate(found)
    except (ValueError, ValidationError):
        raise InvalidInput(
            f"{folder / FILE} is damaged: it does not say what the run chose at its start.",
            remedy="Start a new job; or remove that file and the checkpoints, to begin afresh.",
        ) from None
