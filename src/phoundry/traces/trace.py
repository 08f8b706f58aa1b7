"""One trace: a run of a flow, or one line of a batch, as it is kept.

Its spans are those of `phoundry.flows.spans`, as plain data: small numbers tell them apart within
the trace. OpenTelemetry's ids are made of both when they are needed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from phoundry.flows.session.recorded import SpanData, summary, unpack

__all__ = ["SpanData", "Trace", "new_trace"]


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

    def open(self) -> Trace:
        """Itself, with its spans taken apart."""
        if self.text:
            self.spans, self.text = json.loads(self.text), ""
        return self

    def span_id(self, number: int) -> str:
        """16 hexadecimal digits, never all zero: the trace's own first ten, then the span's."""
        return f"{self.id[:10]}{number & 0xFFFFFF:06x}"


def new_trace(
    spans: Sequence[SpanData] | str,
    flow: str,
    *,
    run: str | None = None,
    line: int | None = None,
    error: str | None = None,
) -> Trace:
    """The trace that `spans` (at least one, or their text) make. `error`: the run's own, where no
    span has it."""
    text, whole = "", list[SpanData]()
    if isinstance(spans, str):
        found, text = unpack(spans)
    else:
        found, whole = summary(spans), list(spans)
    return Trace(
        f"{random.getrandbits(128) or 1:032x}",  # a batch asks for thousands: no call of the kernel
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
    )
