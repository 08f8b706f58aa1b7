"""Bases of the models: strict towards what users write, lenient towards what a server answers."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field

from phoundry.errors import Fault


class Spec(BaseModel):
    """Something a user writes. Unknown keys are faults, so that a typo is never ignored."""

    model_config = ConfigDict(extra="forbid", validate_default=True)

    @classmethod
    def more_faults(cls, name: str, document: Any) -> list[Fault]:
        """Faults of a YAML document (its file's `name`) that validating it does not find."""
        del name, document
        return []


class View(BaseModel):
    """Something a user is shown."""

    model_config = ConfigDict(extra="ignore")

    def _repr_html_(self) -> str:
        """A table, as a notebook shows it: what is set, and nothing that the repr hides."""
        fields = type(self).model_fields.items()
        shown = [(name, getattr(self, name)) for name, field in fields if field.repr]
        rows = [
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{_cell(value)}</td></tr>"
            for name, value in shown
            if value not in (None, "", [], {})
        ]
        return f"<table>{''.join(rows)}</table>"


def _cell(value: object) -> str:
    if isinstance(value, View):
        return value._repr_html_()  # pyright: ignore[reportPrivateUsage] - our own class
    if isinstance(value, list | tuple):
        return "<br>".join(_cell(each) for each in cast("list[object]", value))
    if isinstance(value, dict):
        pairs = cast("dict[object, object]", value).items()
        return "<br>".join(f"{escape(str(key))} = {escape(str(each))}" for key, each in pairs)
    return escape(str(value))


def now() -> datetime:
    return datetime.now(UTC)


class Preparation(View):
    """What is being done before something can begin: a download, a conversion."""

    message: str = Field(description="`Downloading model.safetensors`, `Merging`")
    file: str | None = Field(default=None, description="The file that is being downloaded")
    bytes: int | None = Field(default=None, description="That are here, of all its files together")
    total: int | None = Field(default=None, description="Bytes of all files of the download")

    def words(self) -> str:
        """`Downloading model.safetensors 120 of 270 MB`"""
        if self.bytes is None or not self.total:
            return self.message
        unit, name = (1_000_000, "MB") if self.total >= 1_000_000 else (1_000, "kB")
        return f"{self.message} {self.bytes // unit:,} of {-(-self.total // unit):,} {name}"


class Event(View):
    """One entry of a resource's history."""

    time: datetime
    kind: str
    message: str = ""
    data: dict[str, object] = Field(default_factory=dict[str, object])
