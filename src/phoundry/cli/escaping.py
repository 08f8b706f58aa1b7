"""Text that no terminal obeys, JSON or not; see `screen`."""

from __future__ import annotations

_ESCAPED = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}
# Line feed and tab stay; the others have pictures of their own, or are unknown to Unicode's.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t\r"}
# Halves of characters, as a cut emoji leaves them, can't be encoded at all.
_CONTROLS = (
    _PICTURES | {0x7F: 0x2421} | dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000)], 0xFFFD)
)


def escaped(document: str) -> str:
    """A JSON document with the control characters escaped that JSON itself lets pass, and halves
    of characters, which no output can encode."""
    text = document.translate(_ESCAPED)
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(f"\\u{ord(one):04x}" if "\ud800" <= one <= "\udfff" else one for one in text)
    return text


def visible(text: str) -> str:
    """`text` with pictures in place of control characters; a carriage return begins a line."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS)
