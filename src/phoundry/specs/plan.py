"""What `phoundry apply` would do, resource by resource."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from phoundry.specs.base import Spec, View

Kind = Literal["project", "data", "job", "batch", "model", "endpoint", "deployment", "connection"]
Resource = Literal["data", "job", "model", "endpoint", "deployment", "connection", "flow"]
Action = Literal["create", "change", "resume", "follow", "nothing"]


class SourceFacts(Spec):
    """What the client has seen of a local source; the server cannot read it."""

    sha256: str | None = Field(default=None, description="None: a data set of the hub")
    bytes: int = 0
    filename: str = ""


class Declared(Spec):
    """One document on its way to the server. `spec` is what the document's model dumps."""

    kind: Kind
    spec: dict[str, Any]
    facts: SourceFacts | None = None
    flow_path: str | None = None


class PlanRequest(Spec):
    documents: list[Declared]


class Change(View):
    """One difference. A secret's values are never shown."""

    field: str
    old: Any = None
    new: Any = None


class Forecast(View):
    """What a training will take. `about`: tokens are guessed from the bytes of the data."""

    tokens: int | None = Field(default=None, description="Of one epoch")
    about: bool = True
    epochs: float = 1
    steps: int | None = None
    memory_bytes: int | None = None
    available_bytes: int | None = None
    fits: bool | None = None
    tokens_per_second: float | None = None
    seconds: float | None = Field(default=None, description="None: no speed was measured yet")
    basis: str = Field(default="", description="Where the speed comes from")


class PlanItem(View):
    kind: Resource
    name: str
    action: Action
    reason: str = ""
    changes: list[Change] = Field(default_factory=list[Change])
    waits_for: list[str] = Field(default_factory=list[str], description="KIND/NAME")
    forecast: Forecast | None = None
    project: str | None = None


class Plan(View):
    items: list[PlanItem]
    notes: list[str] = Field(default_factory=list[str])

    @property
    def empty(self) -> bool:
        """Whether everything is as the documents say."""
        return all(item.action == "nothing" for item in self.items)


class Outcome(View):
    """How far one document has come."""

    kind: Kind
    name: str
    done: bool
    changed: bool = False
    message: str = ""
