"""What crosses between a session's processes as it is: JSON, and nothing that JSON would change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from phoundry.flows.session.redact import redact

_SCALARS = frozenset({str, int, float, bool, type(None)})
_LARGE = 10**100
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


def as_text(spans: list[dict[str, Any]], secrets: Sequence[str]) -> list[dict[str, Any]]:
    """`spans` with attributes that are JSON and short: others as their repr, long ones cut, and
    `secrets` hidden before that, so that no part of one is left where a text ends."""
    for span in spans:
        given: dict[str, Any] = span["attributes"]
        span["attributes"] = {name: _short(item, secrets) for name, item in given.items()}
        span["error"] = [_cut(redact(text, secrets)) for text in span["error"] or ()] or None
    return spans


def _short(value: Any, secrets: Sequence[str]) -> Any:
    try:
        if secrets:
            value = redact(value, secrets)
        if type(value) is str:
            return _cut(value)
        if _size(value) <= PAYLOAD:
            return value
        try:
            text = json.dumps(value, ensure_ascii=False, default=repr)
        except (TypeError, ValueError, RecursionError):
            text = repr(value)
        return _cut(redact(text, secrets))  # again: a repr may hold one
    except Exception:  # noqa: BLE001 - a repr is the user's code; what is recorded fails no run
        return f"<{type(value).__name__} that can't be shown>"


def _size(value: Any) -> float:
    """About as many characters as the JSON of `value` has; infinity for what is not plain."""
    kind = cast("type[object]", type(value))
    if kind is str:
        return len(value)
    if kind is int and not -_LARGE < value < _LARGE:
        return float("inf")  # Python writes no number of thousands of digits
    if kind in _SCALARS:
        return 8
    if kind is list:
        return sum(map(_size, value)) + len(value)
    if kind is dict and all(type(key) is str for key in value):
        return sum(map(_size, value.values())) + sum(map(len, value))
    return float("inf")


def _cut(text: str) -> str:
    if len(text) <= PAYLOAD:
        return text
    return f"{text[:PAYLOAD]}… ({len(text):,} characters in all)"
