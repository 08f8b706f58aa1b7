"""A JSON document that no terminal obeys; see `screen`."""

from __future__ import annotations

_ESCAPED = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


def escaped(document: str) -> str:
    """A JSON document with the control characters escaped that JSON itself lets pass."""
    return document.translate(_ESCAPED)
