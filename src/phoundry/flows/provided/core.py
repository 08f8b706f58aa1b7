"""`promptflow.core`: `@tool`, `ToolProvider` and `log_metric`."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

Function = Callable[..., Any]
TOOL_MARK = "__phoundry_tool__"

# The metrics of the run that this thread or task works for.
metrics: ContextVar[dict[str, float] | None] = ContextVar("metrics", default=None)


def tool(func: Function | None = None, **settings: Any) -> Any:
    """Mark a function as the tool of its file; with or without parentheses."""

    def mark(function: Function) -> Function:
        setattr(function, TOOL_MARK, settings)
        return function

    return mark(func) if func is not None else mark


class ToolProvider:
    """Base of classes whose `@tool` methods are tools."""


def log_metric(key: str, value: float, variant_id: str | None = None) -> None:
    """Record a metric of the run, from an aggregation node. `value` becomes a float."""
    store = metrics.get()
    if store is not None:
        store[key if variant_id is None else f"{key}.{variant_id}"] = float(value)


log_flow_metric = log_metric
