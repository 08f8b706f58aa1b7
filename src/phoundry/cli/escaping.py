"""A JSON document that no terminal obeys; see `screen`."""

from __future__ import annotations

_ESCAPED = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


def escaped(document: str) -> str:
    """A JSON document with the control characters escaped that JSON itself lets pass, and halves
    of characters, which no output can encode."""
    text = document.translate(_ESCAPED)
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(f"\\u{ord(one):04x}" if "\ud800" <= one <= "\udfff" else one for one in text)
    return text
