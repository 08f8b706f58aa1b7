"""`promptflow.tracing`: accepted, and nothing is sent anywhere."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any


def trace(func: Callable[..., Any] | None = None, **settings: Any) -> Any:
    """Leave the function as it is; with or without parentheses."""

    def same(function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    return func if func is not None else same


def start_trace(**settings: Any) -> None:
    """Do nothing."""


class ThreadPoolExecutorWithContext(ThreadPoolExecutor):
    """A thread pool whose tasks see the context variables of the one who submits."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(copy_context().run, fn, *args, **kwargs)
