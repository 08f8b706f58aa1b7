"""What happened in a run: a span for the flow, for every node, every call of a model and every
function marked with `@trace`.

A run is recorded when it is inside `recording()`; else a span costs one look at a variable. Spans
are plain data here; what keeps, shows and exports them reads `Span.to_dict()`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any, Literal

from phoundry.flows.trace_context import HEADER, Caller, new_id, span_id, written

Kind = Literal["flow", "node", "model", "function"]
# Spans of a run beyond which functions have none: one may be called in a loop, and all are kept in
# memory until the run ends. Where they would be, `spans_left_out` counts them.
MOST_FUNCTIONS = 10_000


@dataclass(slots=True)
class Span:
    """`start` and `end` are nanoseconds since 1970. `attributes` are values of JSON, or anything
    at all that `to_dict` then writes as its repr. `error` is `(type, message)`."""

    id: int
    parent: int | None
    kind: Kind
    name: str
    start: int
    end: int = 0
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    error: tuple[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "parent": self.parent,
            "kind": self.kind,
            "name": self.name,
            "start": self.start,
            "end": self.end,
            "attributes": self.attributes,
            "error": self.error,
        }


@dataclass(slots=True)
class Recording:
    """The spans of one run, in the order in which they ended; nodes' threads append to it.

    `id` is the trace's, where those who are asked for models are told of it. `caller` is who asked
    for the run, if that was said.
    """

    spans: list[Span] = field(default_factory=list[Span])
    id: str | None = None
    caller: Caller | None = None
    numbers: Any = field(default_factory=lambda: itertools.count(1))


def recorded() -> bool:
    """Whether anything is recorded here: for callers that would do work for a span alone."""
    return _here.get() is not None


def note(**attributes: Any) -> None:
    """Add to the innermost span here; nothing where none is recorded."""
    here = _here.get()
    if here is not None and here[1] is not None:
        here[1].attributes.update(attributes)


_here: ContextVar[tuple[Recording, Span | None] | None] = ContextVar("span", default=None)
_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


@contextmanager
def recording(*, told: bool = False, caller: Caller | None = None) -> Generator[Recording]:
    """Record the spans of the block. `told`: servers that are asked in it learn its ids."""
    found = Recording(id=new_id() if told else None, caller=caller)
    token = _here.set((found, None))
    try:
        yield found
    finally:
        _here.reset(token)


@contextmanager
def asked_by(caller: Caller | None) -> Generator[None]:
    """Nothing is recorded in the block, but servers that are asked in it learn of `caller`."""
    token = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(token)


def context_headers() -> dict[str, str]:
    """What a call from here tells of the trace that it belongs to: `traceparent`, or nothing."""
    here = _here.get()
    if here is None or here[0].id is None:
        caller = _caller.get()
        return {HEADER: caller.header} if caller is not None else {}
    to, inner = here
    number, id = inner.id if inner is not None else 0, here[0].id
    if to.caller is None:
        return {HEADER: written(id, span_id(id, number), sampled=True)}
    return {HEADER: written(to.caller.trace, span_id(id, number), sampled=to.caller.sampled)}


class span:  # noqa: N801 - reads as a word: `with span("node", name) as it`
    """A span around the block; gives the `Span` to add attributes to, or None when nothing is
    recorded. An exception that leaves the block is its error."""

    __slots__ = ("_attributes", "_kind", "_name", "_span", "_to", "_token")

    def __init__(self, kind: Kind, name: str, **attributes: Any) -> None:
        self._kind: Kind = kind
        self._name, self._attributes = name, attributes
        self._span: Span | None = None
        self._to: Recording | None = None
        self._token: Token[Any] | None = None

    def __enter__(self) -> Span | None:
        here = _here.get()
        if here is None:
            return None
        self._to, parent = here
        number = next(self._to.numbers)
        if number > MOST_FUNCTIONS and self._kind == "function":
            if parent is not None:
                left_out: int = parent.attributes.get("spans_left_out", 0)
                parent.attributes["spans_left_out"] = left_out + 1
            return None
        self._span = Span(
            number,
            parent.id if parent is not None else None,
            self._kind,
            self._name,
            time.time_ns(),
            attributes=self._attributes,
        )
        self._token = _here.set((self._to, self._span))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if self._span is None or self._to is None or self._token is None:
            return
        _here.reset(self._token)
        self._span.end = time.time_ns()
        if error is not None:
            self._span.error = (type(error).__name__, _text(error))
        self._to.spans.append(self._span)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the user's exception can't be shown, and must go on
        return f"<{type(error).__name__} whose text can't be made>"
