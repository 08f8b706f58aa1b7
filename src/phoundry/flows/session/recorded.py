"""What a run recorded, as one text: a batch passes many on, and only who looks takes one apart.

The first line is the summary, the second the spans, both JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

SpanData = dict[str, Any]
MOST = 2**62  # tokens; a server may answer anything, and a database holds no more


class Summary(NamedTuple):
    """`name` is the root's; `started` and `ended` are nanoseconds since 1970; `error` is of the
    span that failed first; tokens are those of all calls of models."""

    name: str
    started: int
    ended: int
    error: str | None
    input_tokens: int
    output_tokens: int


def summary(spans: Sequence[SpanData]) -> Summary:
    """What `spans` (at least one, in the order in which they ended) add up to."""
    root, started, ended = spans[-1], spans[-1]["start"], 0
    error: str | None = None
    asked = answered = 0
    for span in reversed(spans):
        started, ended = min(started, span["start"]), max(ended, span["end"])
        if span["parent"] is None:
            root = span
        if span["error"]:
            error = f"{span['error'][0]}: {span['error'][1]}"
        if span["kind"] == "model":
            asked += _count(span["attributes"].get("input_tokens"))
            answered += _count(span["attributes"].get("output_tokens"))
    name = as_unicode(str(root["name"]))
    told = as_unicode(error) if error is not None else None
    return Summary(name, started, ended, told, min(asked, MOST), min(answered, MOST))


def as_unicode(text: str) -> str:
    """`text` without halves of surrogate pairs, which neither a database nor a collector takes."""
    return text.encode(errors="replace").decode()


def pack(spans: Sequence[SpanData]) -> str:
    """The text of `spans`; empty where there are none."""
    return f"{json.dumps(summary(spans))}\n{json.dumps(spans)}" if spans else ""


def unpack(text: str) -> tuple[Summary, str]:
    """The summary of a text, and the JSON of its spans."""
    head, _, spans = text.partition("\n")
    return Summary(*json.loads(head)), spans


def _count(value: Any) -> int:
    return value if type(value) is int else 0
