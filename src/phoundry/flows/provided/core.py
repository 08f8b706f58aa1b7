"""`promptflow.core`: `@tool`, `ToolProvider` and `log_metric`."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

Function = Callable[..., Any]
TOOL_MARK = "__phoundry_tool__"

# The metrics of the run that this thread or task works for.
metrics: ContextVar[dict[str, Any] | None] = ContextVar("metrics", default=None)


def tool(func: Function | None = None, **settings: Any) -> Any:
    """Mark a function as the tool of its file; with or without parentheses."""

    def mark(function: Function) -> Function:
        setattr(function, TOOL_MARK, settings)
        return function

    return mark(func) if func is not None else mark


class ToolProvider:
    """Base of classes whose `@tool` methods are tools."""


def log_metric(key: str, value: Any, variant_id: str | None = None) -> None:
    """Record a metric of the run, from an aggregation node.

    What JSON has no word for becomes a number where it can, else text. The variant is accepted and
    left out, as Prompt flow does.
    """
    store = metrics.get()
    if store is not None:
        store[str(key)] = _as_json(value)


def _as_json(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        pass
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


log_flow_metric = log_metric
