"""Which trace a run belongs to: OpenTelemetry's ids, and W3C's `traceparent`, in and out.

    traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
                 version, trace, the span that asks, flags (1: recorded)     w3.org/TR/trace-context

`tracestate` is not passed on: it holds what a caller's own tools wrote, and calls of models leave
this machine.
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

HEADER = "traceparent"
SAMPLED = 1
_FORM = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class Caller(NamedTuple):
    """The caller's `trace` and `span`, hexadecimal, and whether it records them."""

    trace: str
    span: str
    sampled: bool

    @property
    def header(self) -> str:
        return written(self.trace, self.span, sampled=self.sampled)


def read(value: bytes | None) -> Caller | None:
    """The caller of a request by its header's `value`; None where it names none, or not by the
    rules: such a header is to be taken as absent."""
    found = _FORM.fullmatch(value.strip()) if value else None
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more) or not int(trace, 16) or not int(span, 16):
        return None
    return Caller(trace.decode(), span.decode(), bool(int(flags, 16) & SAMPLED))


def written(trace: str, span: str, *, sampled: bool) -> str:
    """The header's value."""
    return f"00-{trace}-{span}-{'01' if sampled else '00'}"


def new_id() -> str:
    """32 hexadecimal digits, not all zero, of a new trace. No call of the kernel: a batch asks
    for thousands."""
    return f"{random.getrandbits(128) or 1:032x}"


def span_id(trace: str, number: int) -> str:
    """16 hexadecimal digits, never all zero: the first ten of the run's own id, then `number`."""
    return f"{trace[:10]}{number & 0xFFFFFF:06x}"
