"""Secrets out of messages: what a tool raises or prints may quote a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

HIDDEN = "***"  # as `specs.connection` has it, which costs a session's start too much
Value = TypeVar("Value", str, dict[str, Any], Any)


def redact(value: Value, secrets: Sequence[str]) -> Value:
    """`value` (text, or JSON of any depth) with every one of `secrets` as `***`."""
    if not secrets:
        return value
    if isinstance(value, str):
        text: Any = value
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return text
    if isinstance(value, dict):
        return {redact(key, secrets): redact(item, secrets) for key, item in value.items()}  # type: ignore[return-value]
    if isinstance(value, list | tuple):
        return [redact(item, secrets) for item in value]  # type: ignore[return-value]
    return value


def tail(text: str, secrets: Sequence[str], length: int, *, cut: bool = False) -> str:
    """The last `length` characters of `text`, without `secrets` or a part of one. `cut`: `text` has
    lost its beginning, perhaps in the middle of a secret."""
    shown = redact(text, secrets)
    if cut:
        shown = shown[max(map(len, secrets), default=0) :]
    return shown[-length:]
