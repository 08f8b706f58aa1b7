"""One trace: a run of a flow, or one line of a batch, as it is kept.

Its spans are those of `phoundry.flows.spans`, as plain data: small numbers tell them apart within
the trace. OpenTelemetry's ids are made of both when they are needed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from phoundry.flows.session.recorded import SpanData, summary, unpack
from phoundry.flows.trace_context import new_id, span_id

__all__ = ["NOWHERE", "Origin", "SpanData", "Trace", "new_trace"]


class Origin(NamedTuple):
    """Who asked a served flow: `within` and `parent` are the trace and the span of a caller that
    named them (`traceparent`), `request` is the request's id. `endpoint` and `deployment` are what
    the flow stands behind, if it does."""

    within: str | None = None
    parent: str | None = None
    endpoint: str | None = None
    deployment: str | None = None
    request: str | None = None


NOWHERE = Origin()  # of what was run here


@dataclass(slots=True)
class Trace:
    """`id` is 32 hexadecimal digits, `started` nanoseconds since 1970, `flow` the flow's folder.
    `run` and `line` are those of a batch. `error` is what its first failed span says."""

    id: str
    name: str
    flow: str
    started: int
    seconds: float
    run: str | None = None
    line: int | None = None
    error: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    spans: list[SpanData] = field(default_factory=list[SpanData])
    text: str = ""  # the JSON of its spans, where nobody has taken it apart
    origin: Origin = NOWHERE

    @property
    def trace_id(self) -> str:
        """OpenTelemetry's id of the trace: the caller's, who may have asked several flows."""
        return self.origin.within or self.id

    def open(self) -> Trace:
        """Itself, with its spans taken apart."""
        if self.text:
            self.spans, self.text = json.loads(self.text), ""
        return self

    def span_id(self, number: int) -> str:
        """16 hexadecimal digits, never all zero: the trace's own first ten, then the span's."""
        return span_id(self.id, number)


def new_trace(
    spans: Sequence[SpanData] | str,
    flow: str,
    *,
    run: str | None = None,
    line: int | None = None,
    error: str | None = None,
    id: str | None = None,
    origin: Origin = NOWHERE,
) -> Trace:
    """The trace that `spans` (at least one, or their text) make. `error`: the run's own, where no
    span has it. `id`: the one that was told to others while it ran, else a new one."""
    text, whole = "", list[SpanData]()
    if isinstance(spans, str):
        found, text = unpack(spans)
    else:
        found, whole = summary(spans), list(spans)
    return Trace(
        id or new_id(),
        found.name,
        flow,
        found.started,
        max(found.ended - found.started, 0) / 1e9,
        run,
        line,
        found.error or error,
        found.input_tokens,
        found.output_tokens,
        whole,
        text,
        origin,
    )
