"""Several sources as lines: rows that have the same `line_number` belong together.

A source whose first row has no `line_number` counts its rows from 0. Lines that one source lacks
(a failed line has no output) are left out. Lines come in ascending order, one row of each source in
memory; only a source whose numbers do not ascend is read whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from phoundry.flows.batch.errors import EmptyInputsData, InputMappingError
from phoundry.flows.batch.mapping import LINE_NUMBER
from phoundry.flows.batch.sources import Row, rows

Numbered = Iterator[tuple[int, Row]]
Line = tuple[int, dict[str, Row]]


def joined(sources: Mapping[str, Path]) -> Iterator[Line]:
    """`(line number, {source: row})` of every line that all of `sources` have.

    Raises:
        NotFound, InvalidUserData: a source that is not there or cannot be read.
        EmptyInputsData: no source has a row.
        InputMappingError: one source is empty, or lengths differ where nothing is numbered.
    """
    opened = {name: _Source(name, path) for name, path in sources.items()}
    empty = [source for source in opened.values() if source.empty]
    if len(empty) == len(opened):
        places = "\n".join(f"{name}: {path.as_posix()}" for name, path in sources.items())
        raise EmptyInputsData(
            "Couldn't find any inputs data at the given input paths. Please review the provided "
            f"path and consider resubmitting.\n{places}"
        )
    if empty:
        raise InputMappingError(
            f"The input for batch run is incorrect. Input from key '{empty[0].name}' is an empty "
            "list, which means we cannot generate a single line input for the flow run. "
            "Please rectify the input and try again."
        )
    if len(opened) == 1:
        (only,) = opened.values()
        for number, row in only.numbered():
            yield number, {only.name: row}
        return
    yield from _merged(list(opened.values()))


def _merged(sources: list[_Source]) -> Iterator[Line]:
    streams = [source.numbered() for source in sources]
    heads = [next(stream, None) for stream in streams]
    while all(head is not None for head in heads):
        numbers = [head[0] for head in heads if head is not None]
        wanted = max(numbers)
        if min(numbers) == wanted:
            found = zip(sources, heads, strict=True)
            yield wanted, {source.name: head[1] for source, head in found if head is not None}
            wanted += 1
        for place, head in enumerate(heads):
            while head is not None and head[0] < wanted:
                head = next(streams[place], None)
            heads[place] = head
    for stream in streams:
        for _ in stream:  # to the end, so that lengths can be compared
            pass
    _check_lengths(sources)


def _check_lengths(sources: list[_Source]) -> None:
    lengths = {source.name: source.count for source in sources if not source.has_numbers}
    if len(set(lengths.values())) > 1:
        raise InputMappingError(
            "The input for batch run is incorrect. Line numbers are not aligned. Some lists have "
            "dictionaries missing the 'line_number' key, and the lengths of these lists are "
            f"different. List lengths are: {lengths}. Please make sure these lists have the same "
            "length or add 'line_number' key to each dictionary."
        )


class _Source:
    """The rows of one source; the first is read when it is made."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self._path = name, path
        self.count = 0
        self._rows = rows(path)
        first = next(self._rows, None)
        self.empty = first is None
        self.has_numbers = first is not None and _number(first) is not None
        if first is not None:
            self._rows = chain([first], self._rows)

    def numbered(self) -> Numbered:
        """Its rows with their numbers, ascending."""
        if not self.has_numbers:
            for number, row in enumerate(self._rows):
                self.count = number + 1
                yield number, row
            return
        # Whether they ascend is known at the end only, so the numbers alone are read first.
        if not self._ascends():
            found = {number: row for row in self._rows if (number := _number(row)) is not None}
            yield from sorted(found.items())
            return
        for row in self._rows:
            if (number := _number(row)) is not None:
                yield number, row

    def _ascends(self) -> bool:
        last = -1
        for row in rows(self._path):
            number = _number(row)
            if number is not None:
                if number <= last:
                    return False
                last = number
        return True


def _number(row: Mapping[str, Any]) -> int | None:
    """The `line_number` of a row; a table has it as text."""
    found = row.get(LINE_NUMBER)
    if isinstance(found, str) and found.isdecimal():
        return int(found)
    return found if type(found) is int and found >= 0 else None
