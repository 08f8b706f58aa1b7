"""What a user is shown of a trace."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from phoundry.specs.base import View


class TraceSummary(View):
    """One run of a flow, or one line of a batch (`run`, `line`). `id` is OpenTelemetry's; of a
    request that named one (`traceparent`) it is the caller's, which may stand here more often."""

    id: str
    name: str
    flow: str = Field(description="the flow's folder")
    started_at: datetime
    seconds: float
    status: Literal["Completed", "Failed"]
    error: str | None = None
    input_tokens: int = Field(default=0, description="of all its calls of models")
    output_tokens: int = 0
    run: str | None = None
    line: int | None = None
    endpoint: str | None = Field(default=None, description="that the request came through")
    deployment: str | None = None
    request_id: str | None = Field(default=None, description="the request's `x-request-id`")
    parent: str | None = Field(default=None, description="the caller's span, from `traceparent`")


class TraceSpan(View):
    """`start` and `end` are nanoseconds since 1970; `attributes` are as they were recorded."""

    id: str
    parent: str | None
    kind: str
    name: str
    start: int
    end: int
    attributes: dict[str, Any] = Field(default_factory=dict[str, Any])
    error: str | None = None


class TraceDetail(TraceSummary):
    """A trace with its spans, in the order in which they ended."""

    spans: list[TraceSpan] = Field(default_factory=list[TraceSpan])
    text: list[str] = Field(default_factory=list[str], description="the same as a tree of lines")
