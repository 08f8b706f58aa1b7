"""One trace: a run of a flow, or one line of a batch, as it is kept.

Its spans are those of `phoundry.flows.spans`, as plain data: small numbers tell them apart within
the trace. OpenTelemetry's ids are made of both when they are needed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
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
    root, started, ended = spans[0], spans[0]["start"], 0
    tokens = [0, 0]
    for span in reversed(spans):  # parents end after what is in them
        started, ended = min(started, span["start"]), max(ended, span["end"])
        if span["parent"] is None:
            root = span
        if span["error"]:
            error = error or f"{span['error'][0]}: {span['error'][1]}"
        if span["kind"] == "model":
            for place, name in enumerate(("input_tokens", "output_tokens")):
                count = span["attributes"].get(name)
                tokens[place] += count if type(count) is int else 0
    return Trace(
        f"{random.getrandbits(128) or 1:032x}",  # a batch asks for thousands: no call of the kernel
        str(root["name"]),
        flow,
        started,
        max(ended - started, 0) / 1e9,
        run,
        line,
        error,
        *tokens,
        spans=list(spans),
    )
