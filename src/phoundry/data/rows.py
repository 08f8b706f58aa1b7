"""Read canonical `messages` JSONL line by line and say everything that is wrong with it.

    {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}

This is what `to_line` writes and training reads; `open_rows` reads every other format. Other keys
beside `messages` (`id`, `prompt`, `category`, …) are allowed and left out. A byte order mark is
taken off, Windows line ends and blank lines are fine. No more than one line is in memory at a time
until a caller keeps the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phoundry.data.containers.lines import json_lines
from phoundry.data.containers.streams import had_bom, open_stream
from phoundry.data.formats.conversation import read_conversation
from phoundry.data.refusals import Refusals
from phoundry.data.row import BadRow, RefusedRow, Row
from phoundry.errors import Fault


@dataclass(slots=True)
class ReadResult:
    """A whole file: `len(rows) + refused` is the number of its rows that are not blank."""

    name: str
    rows: list[Row] = field(default_factory=list[Row])
    refusals: Refusals = field(default_factory=lambda: Refusals(allowed=None))
    had_bom: bool = False

    @property
    def faults(self) -> list[Fault]:
        return self.refusals.faults

    @property
    def counts(self) -> Counter[str]:
        """How many rows were refused, by kind."""
        return self.refusals.counts

    @property
    def refused(self) -> int:
        return self.refusals.total

    @property
    def total(self) -> int:
        return len(self.rows) + self.refused

    @property
    def notices(self) -> list[str]:
        """What was put right without asking."""
        if self.had_bom:
            return [f"{self.name}: a byte order mark at the start was taken off."]
        return []


@dataclass(frozen=True, slots=True)
class Checked:
    """A file in which every row is good."""

    name: str
    rows: list[Row]
    notices: list[str]


def iter_messages(path: Path, name: str | None = None) -> Iterator[Row | RefusedRow]:
    """Each row of the file that is not blank, good or refused, in order.

    `name` is what faults call the file (default: its own name).

    Raises:
        NotFound: no such file.
        InvalidInput: not a text file at all (UTF-16, gzip, zip).
    """
    name = name or path.name
    with open_stream(path, name, compressed=False) as file:
        for line, value in json_lines(file):
            try:
                row = _row(value)
            except BadRow as bad:
                yield RefusedRow(name, line, bad.kind, bad.reason)
            else:
                yield row


def read_messages(path: Path, name: str | None = None) -> ReadResult:
    """Every row of the file with every fault, the first `refusals.MAX_FAULTS` with their line.

    Raises:
        NotFound: no such file.
        InvalidInput: not a text file at all.
    """
    result = ReadResult(name=name or path.name)
    with open_stream(path, result.name, compressed=False) as file:
        result.had_bom = had_bom(file)
    for row in iter_messages(path, result.name):
        if isinstance(row, RefusedRow):
            result.refusals.add(row)
        else:
            result.rows.append(row)
    return result


def check_messages(path: Path, name: str | None = None) -> Checked:
    """The file's rows, all of them good.

    Raises:
        NotFound: no such file.
        InvalidInput: it is empty, or has bad rows: all are counted, the first ones shown.
    """
    result = read_messages(path, name)
    result.refusals.check(len(result.rows), result.name)
    return Checked(result.name, result.rows, result.notices)


def _row(value: Any) -> Row:
    if isinstance(value, BadRow):
        raise value
    return read_conversation(value)
