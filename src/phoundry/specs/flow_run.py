"""Batch runs of flows: what a user writes (Prompt flow's run YAML), and what is shown of one."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field, field_validator, model_validator

from phoundry.specs.base import Spec, View

RunStatus = Literal["Preparing", "Running", "Completed", "Failed", "Canceled"]
MOST_WORKERS = 256


class FlowRunSpec(Spec):
    """A run of `flow` over `data`, over what another `run` gave, or over both."""

    schema_: str | None = Field(default=None, alias="$schema")
    name: str | None = Field(default=None, description="Made of flow, variant and time unless set")
    display_name: str = ""
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    flow: str = Field(description="Folder or file of the flow")
    data: str | None = Field(
        default=None,
        description="JSONL, JSON, CSV, TSV, a folder of them, or a data asset NAME:VERSION",
    )
    split: Literal["train", "test", "all"] = Field(
        default="all", description="Of a data asset: which rows"
    )
    run: str | None = Field(
        default=None, description="A run whose inputs and outputs this one reads"
    )
    column_mapping: dict[str, Any] = Field(
        default_factory=dict[str, Any],
        description="Input to `${data.x}`, `${run.inputs.x}`, `${run.outputs.x}` or a literal",
    )
    variant: str | None = Field(default=None, description="`${node.variant}`")
    connections: dict[str, str] = Field(
        default_factory=dict[str, str], description="`node.input` to a connection's name"
    )
    environment_variables: dict[str, Any] = Field(default_factory=dict[str, Any], repr=False)
    init: dict[str, Any] = Field(
        default_factory=dict[str, Any], repr=False, description="Arguments of a flex flow's class"
    )
    resume_from: str | None = Field(
        default=None, description="A run whose completed lines are taken over"
    )
    workers: int | None = Field(
        default=None, gt=0, le=MOST_WORKERS, description="Lines at a time; a line a core unless set"
    )
    timeout: float = Field(default=600.0, gt=0, description="Seconds for one line")
    # Of Azure's runs: read, and without an effect on this machine.
    properties: dict[str, Any] = Field(default_factory=dict[str, Any])
    runtime: str | None = None
    resources: dict[str, Any] | None = None
    identity: dict[str, Any] | None = None
    type: str | None = None

    @field_validator("connections", mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        """`{node: {connection: x}}`, as run YAML has it, to `{node.connection: x}`."""
        if not isinstance(value, dict):
            return value
        flat: dict[Any, Any] = {}
        for name, item in cast("dict[Any, Any]", value).items():
            if isinstance(item, dict):
                inner = cast("dict[Any, Any]", item)
                flat |= {f"{name}.{key}": text for key, text in inner.items()}
            else:
                flat[name] = item
        return flat

    @model_validator(mode="after")
    def _something_to_read(self) -> FlowRunSpec:
        if not self.data and not self.run and not self.resume_from:
            raise ValueError("Either run or data or resume from run must be specified for flow run")
        return self

    def seen_from(self, folder: Path) -> FlowRunSpec:
        """This run, with paths that were written relative to `folder`."""
        changed = {"flow": str(folder / Path(self.flow).expanduser())}
        if self.data and (path := folder / Path(self.data).expanduser()).exists():
            changed["data"] = str(path)
        return self.model_copy(update=changed)


class RunLines(View):
    total: int = 0
    completed: int = 0
    failed: int = 0


class FlowRun(View):
    """A run, as it is. Values of environment variables and of `init` are never shown."""

    name: str
    display_name: str = ""
    status: RunStatus
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    archived: bool = False
    flow: str
    variant: str | None = None
    data: str | None = None
    run: str | None = None
    resumed_from: str | None = None
    column_mapping: dict[str, Any] = Field(default_factory=dict[str, Any])
    connections: dict[str, str] = Field(default_factory=dict[str, str])
    environment_variables: list[str] = Field(
        default_factory=list[str], description="Their names alone"
    )
    workers: int | None = None
    timeout: float = 600.0
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    seconds: float = Field(default=0.0, description="Of work, all goes together")
    lines: RunLines
    metrics: dict[str, Any] = Field(default_factory=dict[str, Any])
    notices: list[str] = Field(default_factory=list[str])
    error: dict[str, Any] | None = Field(default=None, description="Why the run itself failed")
    aggregation_error: dict[str, Any] | None = None
    output: str = Field(description="The run's folder")

    @property
    def failed(self) -> bool:
        """Whether anything of it did not come to a good end."""
        return self.status != "Completed" or bool(self.lines.failed or self.aggregation_error)
