"""The whole journey as one row: data, fine-tune, register, deploy, connect, flow."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from phoundry.specs.base import Spec, View
from phoundry.specs.names import EndpointName

StepName = Literal["data", "train", "register", "endpoint", "deploy", "connect", "flow"]
StepState = Literal["waiting", "running", "done", "failed"]


class JourneySpec(Spec):
    """`phoundry up DATA`: everything else is derived from it."""

    name: EndpointName = Field(description="Names the asset, model, endpoint and connection")
    data: str = Field(description="Data asset NAME:VERSION")
    model: str
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])
    deploy_base: bool = Field(default=False, description="Serve the untuned model beside, at 0 %")
    flow_path: str = Field(description="Folder of the chat flow to make")


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
