"""The YAML that most flows are written in, read a line at a time: mappings, lists, and words,
numbers and quoted texts of one line each.

A YAML library reads everything, a hundred times slower, and its import is a good part of a cold
run. So this reads what can mean one thing only; whatever else stands in a text (flow style, texts
of several lines, escapes, anchors, tags, a fault) is left to the library, whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

Place = tuple[str | int, ...]
DEEPEST = 40  # lists and mappings inside each other
_READABLE = re.compile(
    "[\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]*"
)
_KEY = r"[A-Za-z_$][A-Za-z0-9_.-]{0,99}"
_WORDS = r"(?:[A-Za-z_$/(]|\.\.?/)(?:[^ :#]|:(?=[^ ])|\#| +(?=[^ #]))*"
_NUMBER = r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?"
_VALUE = rf"""{_WORDS}|{_NUMBER}|"[^"\\]*"|'[^']*'|\[\]|\{{\}}"""
_LINE = re.compile(
    rf"""(?P<indent>[ ]*)(?P<dash>-[ ]+|-$)?(?:(?P<key>{_KEY}):(?:[ ]+|$))?(?P<value>{_VALUE})?"""
    r"""[ ]*(?:(?<=[ ])\#.*)?"""
)
_CONSTANTS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL"), None),
}


@dataclass(slots=True)
class Plain:
    """What was read: data, and lines and columns (from 1) of every key and item."""

    data: Any = None
    lines: dict[Place, int] = field(default_factory=dict[Place, int])
    columns: dict[Place, int] = field(default_factory=dict[Place, int])
    values: int = 0  # mappings, lists and scalars, all together


class _Other(Exception):
    """Not for this reader."""


@dataclass(slots=True)
class _Line:
    number: int
    indent: int
    dash: int  # characters that the dash and its spaces take
    key: str | None
    value: str | None
    column: int  # of the value


def read_plain(text: str) -> Plain | None:
    """The one mapping that `text` holds; None where this reader can't tell: it may be faulty."""
    if not _READABLE.fullmatch(text):
        return None
    try:
        reader = _Reader(_lines(text))
        reader.found.data = reader.whole()
    except _Other:
        return None
    return reader.found


def _lines(text: str) -> list[_Line]:
    found: list[_Line] = []
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.lstrip(" ")
        if not bare or bare[0] == "#":
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise _Other
        indent, dash, key, value = match.groups()
        if key in _CONSTANTS or not (dash or key):
            raise _Other
        found.append(_Line(number, len(indent), len(dash or ""), key, value, match.start("value")))
    return found


def _scalar(value: str) -> Any:
    first = value[0]
    if first in "\"'":
        return value[1:-1]
    if first in "[{":
        return [] if first == "[" else {}
    if first == "-" or first.isdigit():
        return float(value) if "." in value else int(value)
    return _CONSTANTS.get(value, value)


class _Reader:
    def __init__(self, lines: list[_Line]) -> None:
        self.found = Plain()
        self._lines, self._next = lines, 0
        self._depth = 0

    def whole(self) -> Any:
        if not self._lines or self._lines[0].indent or self._lines[0].dash:
            raise _Other
        data = self._block(0, ())
        if self._next < len(self._lines):
            raise _Other
        return data

    def _line(self) -> _Line | None:
        return self._lines[self._next] if self._next < len(self._lines) else None

    def _block(self, indent: int, at: Place) -> Any:
        """The mapping or list whose first line is the next one."""
        self.found.values += 1
        self._depth += 1
        if self._depth > DEEPEST:
            raise _Other
        dashed = self._lines[self._next].dash
        data = self._list(indent, at) if dashed else self._mapping(indent, at)
        self._depth -= 1
        return data

    def _mapping(self, indent: int, at: Place) -> dict[str, Any]:
        data: dict[str, Any] = {}
        while (line := self._line()) is not None and line.indent >= indent:
            key = line.key
            if line.indent > indent or line.dash or key is None or key in data:
                raise _Other
            self._mark((*at, key), line.number, indent)
            self._next += 1
            data[key] = self._value(line, indent, (*at, key))
        return data

    def _value(self, line: _Line, indent: int, at: Place) -> Any:
        """What belongs to the key of `line`: on it, or below."""
        if line.value is not None:
            return self._written(line.value, indent)
        below = self._line()
        if below and (below.indent > indent or (below.indent == indent and below.dash)):
            return self._block(below.indent, at)
        self.found.values += 1
        return None

    def _list(self, indent: int, at: Place) -> list[Any]:
        data: list[Any] = []
        while (line := self._line()) is not None and line.indent >= indent:
            if line.indent > indent:
                raise _Other
            if not line.dash:
                break  # the next key of the mapping that this list is in, or nothing at all
            data.append(self._item(line, indent, (*at, len(data))))
        return data

    def _item(self, line: _Line, indent: int, at: Place) -> Any:
        if line.key is not None:  # a mapping that begins behind the dash
            line.indent, line.dash = indent + line.dash, 0
            self._mark(at, line.number, line.indent)
            return self._block(line.indent, at)
        self._next += 1
        if line.value is not None:
            self._mark(at, line.number, line.column)
            return self._written(line.value, indent)
        below = self._line()
        if below is None or below.indent <= indent:
            raise _Other
        self._mark(at, below.number, below.indent)
        return self._block(below.indent, at)

    def _written(self, value: str, indent: int) -> Any:
        below = self._line()
        if below is not None and below.indent > indent:
            raise _Other  # the text goes on
        self.found.values += 1
        return _scalar(value)

    def _mark(self, at: Place, line: int, column: int) -> None:
        self.found.lines[at], self.found.columns[at] = line, column + 1
