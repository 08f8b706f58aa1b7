"""`promptflow.tracing`: functions marked with `@trace` are spans of the run. Nothing is sent."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from phoundry.flows.spans import span

Function = Callable[..., Any]


def trace(func: Function | None = None, **settings: Any) -> Any:
    """Record each call of the function; with or without parentheses."""

    def traced(function: Function) -> Function:
        if inspect.iscoroutinefunction(function):
            return _coroutine(function)
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            return function  # what it yields belongs to whoever takes the pieces
        return _plain(function)

    return traced(func) if func is not None else traced


def _plain(function: Function) -> Function:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with span("function", function.__name__) as it:
            if it is None:
                return function(*args, **kwargs)
            it.attributes["inputs"] = _arguments(function, args, kwargs)
            result = function(*args, **kwargs)
            it.attributes["output"] = _shown(result)
            return result

    return call


def _coroutine(function: Function) -> Function:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        with span("function", function.__name__) as it:
            if it is None:
                return await function(*args, **kwargs)
            it.attributes["inputs"] = _arguments(function, args, kwargs)
            result = await function(*args, **kwargs)
            it.attributes["output"] = _shown(result)
            return result

    return call


def _arguments(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        found = dict(inspect.signature(function).bind(*args, **kwargs).arguments)
    except TypeError:
        return {"args": list(args), **kwargs}  # the call will say what is wrong with it
    found.pop("self", None)
    return found


def _shown(result: Any) -> Any:
    """What a span keeps of a result: never an iterator, which would be used up."""
    return None if isinstance(result, Iterator | AsyncIterator) else result


def start_trace(**settings: Any) -> None:
    """Accepted: runs are traced by default, into this home's own store."""


class ThreadPoolExecutorWithContext(ThreadPoolExecutor):
    """A thread pool whose tasks see the context variables of the one who submits."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(copy_context().run, fn, *args, **kwargs)
