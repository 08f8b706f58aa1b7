"""One JSON document: a list of rows, an object that has such lists, or rows one after another.

Read through a window of the text, so that a list of any length takes the memory of its longest row.
An object is taken apart: each list of objects in it is rows (`{"_meta": …, "questions": […]}`),
except where its key is a part of a row (`messages`): then the object is itself one row.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, TypeAlias

from phoundry.data.containers import records
from phoundry.data.containers.streams import skip_bom
from phoundry.data.json_text import refuse_constant
from phoundry.data.row import BadRow

ROW_KEYS = frozenset(
    {
        *("messages", "conversations", "conversation", "prompt", "completion", "history", "input"),
        *("chosen", "rejected", "preferred_output", "non_preferred_output", "tools", "functions"),
    }
)
# What ends with a character of its own.
_CLOSED: tuple[type[Any], ...] = (dict, list, str)
_CHUNK = 1024 * 1024
_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER_REST = re.compile(r"(?:\.|[eE][+-]?)?")
_LIST_OF_OBJECTS = re.compile(r"\[[ \t\r\n]*([^ \t\r\n])")
# The longest thing that a window's end can cut so that it looks wrong: `-Infinity`, `\ud83d\ude00`.
_CUT_MARGIN = 16

_Records: TypeAlias = Iterator[records.Record]


def document_rows(file: BinaryIO) -> _Records:
    """A record for each row of the document."""
    skip_bom(file)
    text = _Text(file)
    while char := text.next_char():
        if char == "[":
            yield from _list(text)
        elif char == "{":
            yield from _object(text)
        else:
            yield text.line, text.value()


def _list(text: _Text) -> _Records:
    text.take("[")
    while text.next_char() != "]":
        line = text.line
        yield line, text.value()
        if text.next_char() != "]":
            text.take(",")
            if text.next_char() == "]":
                raise text.broken("a comma before the end of the list")
    text.take("]")


def _object(text: _Text) -> _Records:
    line = text.line
    text.take("{")
    own: dict[str, Any] = {}
    found = False
    while text.next_char() != "}":
        key = text.value()
        if not isinstance(key, str):
            raise text.broken("a key that is not text")
        text.take(":")
        if key not in ROW_KEYS and text.at_list_of_objects():
            found = True
            yield from _list(text)
        else:
            own[key] = text.value()
            if text.seen_since(line) > records.MAX_ROW_BYTES and not found:
                raise records.Broken(line, *_too_long())
        if text.next_char() != "}":
            text.take(",")
            if text.next_char() == "}":
                raise text.broken("a comma before the end of the object")
    text.take("}")
    if not found:
        yield line, own


def _too_long() -> tuple[str, str]:
    bad = records.too_long()
    return bad.kind, bad.reason


class _Text:
    """A window of the text, from what was taken last to what was read last."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        # Bytes that are not UTF-8 become surrogates: the row that has them is refused, no other.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._decode = json.JSONDecoder(parse_constant=refuse_constant).raw_decode
        self._window = ""
        self._place = 0
        self._ended = False
        self._marks: dict[int, int] = {}
        self._taken = 0
        self.line = 1

    def next_char(self) -> str:
        """The next character that is no space, or "" at the end."""
        while True:
            match = _SPACE.match(self._window, self._place)
            self._advance(match.end() if match else self._place)
            if self._place < len(self._window):
                return self._window[self._place]
            if not self._fill():
                return ""

    def take(self, char: str) -> None:
        """Go over `char`, which must come next."""
        found = self.next_char()
        if found != char:
            raise self.broken(f"'{char}' expected" if found else "")
        self._advance(self._place + 1)

    def at_list_of_objects(self) -> bool:
        self.next_char()
        while self._window.startswith("[", self._place):
            if match := _LIST_OF_OBJECTS.match(self._window, self._place):
                return match[1] == "{"
            if not self._fill():
                return False
        return False

    def value(self) -> Any:
        """The next JSON value."""
        if not self.next_char():
            raise self.broken("")
        while True:
            try:
                value, end = self._decode(self._window, self._place)
            except json.JSONDecodeError as error:
                if self._may_be_cut(error) and self._fill():
                    continue
                raise self._told(error) from None
            except BadRow as bad:
                raise records.Broken(self.line, bad.kind, bad.reason) from None
            except RecursionError:
                raise self.broken("nested too deeply") from None
            except ValueError as error:  # a number of thousands of digits
                raise self.broken(str(error)) from None
            # A number at the window's end may go on: `1` with digits, `1.` or `1e` with a part.
            whole = isinstance(value, _CLOSED) or not _NUMBER_REST.fullmatch(self._window, end)
            if whole or not self._fill():
                self._advance(end)
                return value

    def seen_since(self, line: int) -> int:
        """Characters taken since this was first asked for `line`."""
        return self._taken - self._marks.setdefault(line, self._taken)

    def broken(self, reason: str) -> records.Broken:
        """The fault of this place; without a reason, that the text has ended."""
        if not reason:
            return records.Broken(self.line, "file cut", records.CUT)
        told = f"not JSON: {reason} (line {self.line}); nothing after this can be read"
        return records.Broken(self.line, "not JSON", told)

    def _told(self, error: json.JSONDecodeError) -> records.Broken:
        """The fault of a value that no more text can make good."""
        at_end = self._ended and error.pos >= len(self._window.rstrip())
        if at_end or (self._ended and error.msg.startswith("Unterminated string")):
            return self.broken("")
        line = self.line  # of the row; the fault may be further down
        self._advance(error.pos)
        found = self.broken(error.msg)
        return records.Broken(line, found.kind, found.reason)

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        """Whether more text might make good what is wrong."""
        if self._ended:
            return False
        if len(self._window) - self._place > records.MAX_ROW_BYTES:
            raise records.Broken(self.line, *_too_long())
        near_end = error.pos >= len(self._window) - _CUT_MARGIN
        return near_end or error.msg.startswith("Unterminated string")

    def _advance(self, place: int) -> None:
        self.line += self._window.count("\n", self._place, place)
        self._taken += place - self._place
        self._place = place

    def _fill(self) -> bool:
        """Read on: as much again as there is, so that a long row is tried few times."""
        if self._ended:
            return False
        rest = self._window[self._place :]
        data = self._file.read(max(_CHUNK, len(rest)))
        self._ended = not data
        self._window = rest + self._decoder.decode(data, final=self._ended)
        self._place = 0
        return True
