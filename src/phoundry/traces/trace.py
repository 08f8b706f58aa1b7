"""One trace: a run of a flow, or one line of a batch, as it is kept.

Its spans are those of `phoundry.flows.spans`, as plain data: small numbers tell them apart within
the trace. OpenTelemetry's ids are made of both when they are needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

SpanData = dict[str, Any]


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

    def span_id(self, number: int) -> str:
        """16 hexadecimal digits, never all zero: the trace's own first ten, then the span's."""
        return f"{self.id[:10]}{number & 0xFFFFFF:06x}"


def new_trace(
    spans: Sequence[SpanData],
    flow: str,
    *,
    run: str | None = None,
    line: int | None = None,
    error: str | None = None,
) -> Trace:
    """The trace that `spans` (at least one) make. `error`: the run's own, where no span has it."""
    root = next((span for span in spans if span["parent"] is None), spans[0])
    started = min(span["start"] for span in spans)
    ended = max(span["end"] for span in spans)
    return Trace(
        os.urandom(16).hex(),
        str(root["name"]),
        flow,
        started,
        max(ended - started, 0) / 1e9,
        run,
        line,
        error or _error(spans),
        _tokens(spans, "input_tokens"),
        _tokens(spans, "output_tokens"),
        list(spans),
    )


def _error(spans: Iterable[SpanData]) -> str | None:
    found = next((span["error"] for span in spans if span["error"]), None)
    return f"{found[0]}: {found[1]}" if found else None


def _tokens(spans: Iterable[SpanData], name: str) -> int:
    found = [span["attributes"].get(name) for span in spans if span["kind"] == "model"]
    return sum(count for count in found if type(count) is int)
