"""Bases of the models: strict towards what users write, lenient towards what a server answers."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field


class Spec(BaseModel):
    """Something a user writes. Unknown keys are faults, so that a typo is never ignored."""

    model_config = ConfigDict(extra="forbid", validate_default=True)


class View(BaseModel):
    """Something a user is shown."""

    model_config = ConfigDict(extra="ignore")


def now() -> datetime:
    return datetime.now(UTC)


class Event(View):
    """One entry of a resource's history."""

    time: datetime
    kind: str
    message: str = ""
    data: dict[str, object] = Field(default_factory=dict[str, object])
