"""The care of a machine: what a check found, what pruning would free, how things are set."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from phoundry.specs.base import View

CheckState = Literal["ok", "warn", "fail"]


class Check(View):
    """One thing that was looked at."""

    name: str
    state: CheckState
    found: str
    remedy: str | None = Field(default=None, description="What to do about it")


class Prunable(View):
    """Something that can be removed, because nothing uses it or it can be made again."""

    kind: str = Field(description="blob, upload, checkpoint, base model, GGUF, download, …")
    name: str
    bytes: int
    why: str
    path: str | None = Field(default=None, description="File or folder; None for rows of a table")
    again: bool = Field(default=False, description="Made again when it is asked for: takes time")


class Pruning(View):
    """What was found, and whether it has been removed."""

    items: list[Prunable] = Field(default_factory=list[Prunable])
    bytes: int = 0
    removed: bool = False
    notices: list[str] = Field(default_factory=list[str])


class SettingValue(View):
    """One setting as it is in force."""

    name: str
    value: str | None
    source: Literal["environment", "default"]
    meaning: str
