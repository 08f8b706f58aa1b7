"""What crosses between a session's processes as it is: JSON, and nothing that JSON would change."""

from __future__ import annotations

import json
from typing import Any, cast

_SCALARS = frozenset({str, int, float, bool, type(None)})
PAYLOAD = 20_000  # characters of one attribute of a span


def is_plain(value: Any) -> bool:
    """Whether `value` comes back from JSON the same. A tuple does not, nor a key that is 1."""
    kind = cast("type[object]", type(value))
    if kind in _SCALARS:
        return True
    if kind is list:
        return all(is_plain(item) for item in value)
    if kind is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    return False


def as_text(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`spans` with attributes that are JSON and short: others as their repr, long ones cut."""
    for span in spans:
        span["attributes"] = {name: _short(item) for name, item in span["attributes"].items()}
    return spans


def _short(value: Any) -> Any:
    if type(value) is not str:
        if type(value) in _SCALARS:
            return value
        try:
            text = json.dumps(value, ensure_ascii=False, default=repr)
        except (TypeError, ValueError, RecursionError):
            text = repr(value)
        return value if len(text) <= PAYLOAD and is_plain(value) else _cut(text)
    return _cut(value)


def _cut(text: str) -> str:
    if len(text) <= PAYLOAD:
        return text
    return f"{text[:PAYLOAD]}… ({len(text):,} characters in all)"
