"""A trace as lines of text: what ran below what, how long, with how many tokens, what was said."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, cast

from phoundry.traces.trace import SpanData, Trace

WIDTH = 400  # characters of one value, unless everything is wanted
_SHOWN = ("inputs", "messages", "prompt", "input", "answer", "output")
_ROOT = ("inputs", "output")


def joined(traces: Sequence[Trace]) -> list[SpanData]:
    """The spans of one trace's parts with OpenTelemetry's ids: a flow that another one's call
    reached stands below that call."""
    return [
        {
            **span,
            "id": trace.span_id(span["id"]),
            "parent": trace.span_id(span["parent"]) if span["parent"] else trace.origin.parent,
        }
        for trace in traces
        for span in trace.spans
    ]


def tree(*parts: Trace, full: bool = False) -> list[str]:
    """The lines of a trace, a span each, with what went in and came out below it.

    `full` shows every value whole; else `WIDTH` characters of it.
    """
    children: dict[str | None, list[SpanData]] = defaultdict(list)
    spans = joined(parts)
    known = {span["id"] for span in spans}
    for span in sorted(spans, key=lambda span: (span["start"], span["id"])):
        children[span["parent"] if span["parent"] in known else None].append(span)
    lines: list[str] = []
    for span in children[None]:
        _write(lines, children, span, "", "", full)
    return lines


def _write(
    lines: list[str],
    children: dict[str | None, list[SpanData]],
    span: SpanData,
    first: str,
    rest: str,
    full: bool,
) -> None:
    lines.append(first + _head(span))
    below = children.pop(span["id"], [])  # taken once: what a caller names may be a circle
    bar = rest + ("│  " if below else "   ")
    lines.extend(bar + text for text in _values(span, full))
    for place, child in enumerate(below):
        last = place == len(below) - 1
        mark, more = ("└─ ", "   ") if last else ("├─ ", "│  ")
        _write(lines, children, child, rest + mark, rest + more, full)


def _head(span: SpanData) -> str:
    seconds = max(span["end"] - span["start"], 0) / 1e9
    given: dict[str, Any] = span["attributes"]
    words = [f"{span['kind']} {span['name']}", in_seconds(seconds)]
    if given.get("input_tokens") is not None or given.get("output_tokens") is not None:
        words.append(tokens(given.get("input_tokens"), given.get("output_tokens")))
    if given.get("status") == "Bypassed":
        words.append("bypassed")
    if span["error"] or given.get("status") == "Failed":
        words.append("FAILED")
    return "  ".join(words)


def _values(span: SpanData, full: bool) -> list[str]:
    given: dict[str, Any] = span["attributes"]
    found: list[str] = []
    for name in _SHOWN:
        if given.get(name) not in (None, {}, []):
            found += _value(name, given[name], full)
    if span["error"]:
        found += _value("error", f"{span['error'][0]}: {span['error'][1]}", full)
    return found


def _value(name: str, value: Any, full: bool) -> list[str]:
    """`name  text`, a line of text each; messages one after the other, with their roles."""
    if name == "messages" and isinstance(value, list):
        found: list[str] = []
        for message in cast("list[Any]", value):
            told = cast("dict[str, Any]", message) if isinstance(message, dict) else {}
            found += _value(str(told.get("role", "message")), told.get("content", message), full)
        return found
    if name == "answer" and isinstance(value, dict):
        told = cast("dict[str, Any]", value)
        return _value(name, told.get("content") or json.dumps(told, ensure_ascii=False), full)
    text: str = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if not full and len(text) > WIDTH:
        text = f"{text[:WIDTH]}… ({len(text):,} characters)"
    first, *more = text.splitlines() or [""]
    return [f"{name:<9} {first}", *(f"{'':<9} {line}" for line in more)]


def in_seconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def tokens(asked: int | None, answered: int | None) -> str:
    """`120 → 35 tokens`: in and out."""
    first, second = ("?" if count is None else f"{count:,}" for count in (asked, answered))
    return f"{first} → {second} tokens"
