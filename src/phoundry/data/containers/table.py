"""CSV and TSV: a header, then a row a record; quoted cells may go over several lines.

Quoting is read strictly: a quote that closes in the wrong place is a fault of its line, where a
lenient reader would take all rows up to the next quote into one cell without a word.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO

from phoundry.data.containers import records
from phoundry.data.containers.streams import BOM, skip_bom
from phoundry.data.mapping import printable
from phoundry.data.row import BadRow
from phoundry.errors import InvalidInput

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


def delimiter_of(header: bytes) -> str | None:
    """What parts the cells of a header, or None where nothing does."""
    text = header.removeprefix(BOM).decode("utf-8", "replace").splitlines()[:1]
    if not text:
        return None
    outside = "".join(text[0].split('"')[::2])
    best = max(DELIMITERS, key=outside.count)
    return best if best in outside else None


def table_rows(file: BinaryIO, delimiter: str, name: str) -> Iterator[records.Record]:
    """A record for each row that is not blank: a mapping of column to text.

    Raises:
        InvalidInput: no header, or a column that comes twice in it.
    """
    skip_bom(file)
    columns: list[str] | None = None
    for line, cells in _cells(file, delimiter):
        if isinstance(cells, BadRow):
            if columns is None:
                raise records.Broken(line, cells.kind, f"the header: {cells.reason}")
            yield line, cells
        elif columns is None:
            columns = _columns(cells, name)
        elif not any(map(str.strip, cells)):
            if len(cells) > 1 or len(columns) == 1:  # else a line of spaces
                yield line, BadRow("empty row", "every cell is empty")
        elif any(cells[len(columns) :]):
            reason = f"{len(cells)} cells, and the header has {len(columns)}"
            yield line, BadRow("too many cells", reason)
        else:
            yield line, dict(zip(columns, cells, strict=False))


def _cells(file: BinaryIO, delimiter: str) -> Iterator[tuple[int, list[str] | BadRow]]:
    """The cells of each row that is not blank, with the line at which it begins."""
    # A limit of the csv module as a whole, and its default (128 KiB) is less than one long answer.
    csv.field_size_limit(records.MAX_ROW_BYTES)
    lines = _Lines(file)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.size = 0
        first = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield first, _bad(error, first, lines.number)
        except BadRow as bad:
            yield first, bad
        else:
            if cells:
                yield first, cells


def _columns(cells: list[str], name: str) -> list[str]:
    columns = [cell.strip() for cell in cells]
    while columns and not columns[-1]:
        columns.pop()
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InvalidInput(
            f"{name}: the header names the column '{printable(twice[0])}' twice.",
            remedy="Give each column a name of its own.",
        )
    return columns


def _bad(error: csv.Error, first: int, last: int) -> BadRow:
    over = f" (lines {first} to {last})" if last > first else ""
    if "unexpected end" in str(error):
        return BadRow("file cut", f"{records.CUT}: a quote that opens here is never closed{over}")
    return BadRow("bad quoting", f"quotes that don't match: {error}{over}")


class _Lines:
    """Lines as text for `csv`. Bytes that are not UTF-8 become surrogates, which checks refuse."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0
        self.size = 0  # bytes since the row began

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        limit = records.MAX_ROW_BYTES
        line = self._file.readline(limit + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self.size += len(line)
        if self.size > limit:
            while len(line) > limit and not line.endswith(b"\n"):
                line = self._file.readline(limit + 1)
            raise records.too_long()
        return line.decode("utf-8", "surrogateescape")
