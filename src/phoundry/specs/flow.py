"""What Phoundry remembers of a flow folder, so that the folder itself stays as it is."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from phoundry.specs.base import View


class FlowSettings(View):
    """Choices made once for the flow in `path` (its absolute, resolved folder)."""

    path: str
    connections: dict[str, str] = Field(
        default_factory=dict[str, str], description="'node.input' to connection name"
    )
    chat_input: str | None = None
    chat_output: str | None = None
    chat_history: str | None = None


class FlowResult(View):
    """The outcome of one run of a flow."""

    status: Literal["Completed", "Failed"]
    output: dict[str, Any] | None = None
    nodes: dict[str, Literal["Completed", "Bypassed", "Failed"]] = Field(
        default_factory=dict[str, Literal["Completed", "Bypassed", "Failed"]]
    )
    metrics: dict[str, Any] = Field(
        default_factory=dict[str, Any], description="numbers, as a rule; flows may log anything"
    )
    error: dict[str, Any] | None = Field(
        default=None, description="{code, codes: [outermost … innermost], message}"
    )
