"""What runs: the answer of `phoundry status`."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from phoundry.specs.base import View


class Process(View):
    kind: str = Field(description="server, gateway, job, replica, task")
    name: str
    pid: int
    memory_bytes: int | None = None
    started_at: datetime | None = None


class Status(View):
    version: str
    home: str
    running: bool = Field(description="Whether a control plane runs on this home")
    address: str | None = None
    gateway_address: str | None = None
    tracking_uri: str
    processes: list[Process] = Field(default_factory=list[Process])
    counts: dict[str, int] = Field(default_factory=dict[str, int])
