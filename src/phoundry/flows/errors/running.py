"""What happens while a flow runs: tools that raise, models that refuse, processes that end."""

from __future__ import annotations

from phoundry.flows.errors.base import FlowUserError


class ToolExecutionError(FlowUserError):
    code = "ToolExecutionError"


class NodeTimeout(ToolExecutionError):
    """A node took longer than its own `timeout`."""

    code = "NodeTimeoutError"


class ToolExit(ToolExecutionError):
    """`sys.exit()` in a tool: the node fails, the process lives."""

    code = "SystemExit"


class OpenAIError(FlowUserError):
    """A model's endpoint could not be reached, refused, or answered something else."""

    code = "OpenAIError"


class SessionTimeout(FlowUserError):
    code = "LineExecutionTimeoutError"


class SessionCrash(FlowUserError):
    code = "ProcessCrashError"
