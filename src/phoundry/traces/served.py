"""The trace of a request to a served flow, from what the serving process tells of it.

The user's code runs in that process, so what it tells is checked: an id that is none, or spans that
are none, keep nobody from taking in the next.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from phoundry.traces.trace import Origin, Trace, new_trace

_TRACE, _SPAN = re.compile("[0-9a-f]{32}"), re.compile("[0-9a-f]{16}")
_REQUEST = re.compile("[A-Za-z0-9._:-]{1,128}")


def served(
    told: Mapping[str, Any],
    flow: str,
    *,
    title: str | None = None,
    endpoint: str | None = None,
    deployment: str | None = None,
) -> Trace | None:
    """The trace that `told` (`spans`, `id`, `within`, `parent`, `request`) makes; None where that
    makes none. `title`: the flow's name, where the process knows another."""
    try:
        spans: list[dict[str, Any]] = [
            {**span, "start": int(span["start"]), "end": int(span["end"])} for span in told["spans"]
        ]
        for span in spans:
            if title and span["parent"] is None and span["kind"] == "flow":
                span["name"] = title
        origin = Origin(
            within=_like(_TRACE, told.get("within")),
            parent=_like(_SPAN, told.get("parent")),
            endpoint=endpoint,
            deployment=deployment,
            request=_like(_REQUEST, told.get("request")),
        )
        return new_trace(spans, flow, id=_like(_TRACE, told.get("id")), origin=origin)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return None


def _like(form: re.Pattern[str], value: Any) -> str | None:
    return value if isinstance(value, str) and form.fullmatch(value) else None
