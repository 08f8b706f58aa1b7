"""The whole journey as one row: data, fine-tune, register, deploy, connect, flow."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, cast

from pydantic import Field, model_validator

from phoundry.specs.base import Spec, View
from phoundry.specs.project import CHAT, Project

StepName = Literal["data", "train", "register", "endpoint", "deploy", "connect", "flow"]
StepState = Literal["waiting", "running", "done", "failed"]


class JourneySpec(Spec):
    """A project whose data are an asset: everything else is derived from it.

    Journeys of the first release were flat (`parameters`, `deploy_base`, …) and are still read.
    """

    project: Project
    data: str = Field(description="Data asset NAME:VERSION")
    flow_path: str | None = Field(default=None, description="Folder of the flow; None: no flow")

    @model_validator(mode="before")
    @classmethod
    def _of_the_first_release(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "project" in values or "flow_path" not in values:
            return cast(Any, values)
        old = dict(cast(dict[str, Any], values))
        project: dict[str, Any] = {
            "name": old.pop("name", None),
            "data": old.get("data"),
            "model": old.pop("model", None),
            "finetune": old.pop("parameters", {}),
            "deployment": {"base": old.pop("deploy_base", False)},
            "flow": CHAT,
        }
        return {**old, "project": project}

    @property
    def name(self) -> str:
        return self.project.name

    @property
    def endpoint(self) -> str:
        return self.project.endpoint_name

    def stored(self) -> dict[str, Any]:
        """As it is kept and sent: equal for equal journeys."""
        return {
            "project": self.project.canonical(),
            "data": self.data,
            "flow_path": self.flow_path,
        }


class Step(View):
    name: StepName
    state: StepState
    title: str
    reference: str | None = Field(default=None, description="What the step made: a job's name, …")
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Journey(View):
    name: str
    state: Literal["running", "done", "failed"]
    steps: list[Step]
    error: dict[str, Any] | None = None
    created_at: datetime
    endpoint: str = Field(default="", description="Where the model answers")
    flow_path: str | None = None
