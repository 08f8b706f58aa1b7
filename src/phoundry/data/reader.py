"""Rows of any source: `open_rows` looks at the files, the reader that it returns streams them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

from phoundry.data.containers.inspect import Opened, look_into, read_records
from phoundry.data.formats import detect
from phoundry.data.formats.fixes import Fixes, told
from phoundry.data.json_text import named
from phoundry.data.mapping import listed, printable, settle
from phoundry.data.row import AnyRow, BadRow, RefusedRow
from phoundry.data.sources import SourceFile
from phoundry.errors import Fault, InvalidInput
from phoundry.specs.data import Container, DataFormat, DataType

# Rows of each file that are looked at to find its format.
HEAD = 50
# Columns that a format reads where they are there, beside those that are mapped.
_OPTIONAL = frozenset({"system", "tools", "functions", "history", "input"})


@dataclass(slots=True)
class RowReader:
    """Iterate for every row, good or refused: `accepted + refused` is what the source holds.

    One row is in memory at a time. `notices` are complete after an iteration; each starts anew.
    """

    files: list[Opened]
    format: DataFormat
    container: Container
    mapping: dict[str, str]
    found: list[str] = field(default_factory=list[str])
    fixes: Fixes = field(default_factory=Counter[str])

    @property
    def type(self) -> DataType:
        return "preference" if self.format == "preference" else "chat"

    @property
    def notices(self) -> list[str]:
        """What was put right or chosen without asking."""
        return [*self.found, *told(self.fixes)]

    def __iter__(self) -> Iterator[AnyRow | RefusedRow]:
        convert = detect.converter(self.format, self.mapping)
        self.fixes = Counter()
        for opened in self.files:
            name = opened.file.name
            for line, value in read_records(opened, self._columns(opened)):
                fixes: Fixes = Counter()
                try:
                    if not isinstance(value, dict):
                        raise _no_object(value)
                    row = convert(cast("dict[str, Any]", value), fixes)
                except BadRow as bad:
                    yield RefusedRow(name, line, bad.kind, bad.reason)
                else:
                    if fixes:
                        self.fixes.update(fixes)
                    yield row

    def _columns(self, opened: Opened) -> list[str] | None:
        """What must be read, where columns can be left out."""
        if opened.columns is None:
            return None
        wanted = {*self.mapping.values(), *_OPTIONAL}
        return [column for column in opened.columns if column in wanted]


def open_rows(
    files: Sequence[SourceFile],
    *,
    format: DataFormat | None = None,
    mapping: Mapping[str, str] | None = None,
) -> RowReader:
    """A reader of `files` as one set. Format and columns are found in the first rows unless named.

    Raises:
        NotFound: no such file.
        InvalidInput: no text or Parquet; files of different containers or formats; columns that are
            no parts of a conversation, with the `--map` to write.
        MissingDependency: Parquet or zstd, without the package for it.
    """
    if not files:
        raise InvalidInput("No file was named.", remedy="Name a file, a folder or a glob.")
    opened = [look_into(file) for file in files]
    _same("containers", [(one.file.name, one.container) for one in opened])
    guesses = [_guess(one, format, dict(mapping or {})) for one in opened]
    known = [
        (one.file.name, guess.format) for one, guess in zip(opened, guesses, strict=True) if guess
    ]
    _same("formats", known)
    first = next((guess for guess in guesses if guess), None)
    found = [notice for one in opened for notice in one.notices]
    if first is None:  # nothing that can be read: each row says why
        named_format: DataFormat = format or "messages"
        return RowReader(opened, named_format, opened[0].container, _default(named_format), found)
    merged = dict(first.mapping)
    for one, guess in zip(opened, guesses, strict=True):
        if guess:
            _same_columns(merged, guess.mapping, one.file.name, opened[0].file.name)
            merged = guess.mapping | merged
    return RowReader(opened, first.format, opened[0].container, merged, found + first.notices)


@dataclass(frozen=True, slots=True)
class _Guess:
    format: DataFormat
    mapping: dict[str, str]
    notices: list[str]


def _guess(opened: Opened, format: DataFormat | None, given: dict[str, str]) -> _Guess | None:
    """Format and mapping of one file; None where no row of it can be read."""
    head = [
        cast("dict[str, Any]", value)
        for _, value in islice(read_records(opened), HEAD)
        if isinstance(value, dict)
    ]
    if not head:
        return None
    columns = list(dict.fromkeys(column for row in head for column in row))
    name = opened.file.name
    settled = settle(given, columns, name)
    guess, rivals = detect.best(head, settled, format)
    if guess is None:
        raise _unmapped(name, head, settled, format)
    notices: list[str] = []
    if rivals and format is None:
        others = " and ".join(sorted(rivals))
        notices.append(
            f"{name}: its columns are also those of {others}; read as {guess[0]}."
            f" --format {min(rivals)} reads it the other way."
        )
    return _Guess(*guess, notices)


def _unmapped(
    name: str,
    head: Sequence[Mapping[str, Any]],
    given: Mapping[str, str],
    format: DataFormat | None,
) -> InvalidInput:
    what = f"columns of {f'the format {format}' if format else 'a conversation'} were"
    parts = {"preference": ("chosen", "rejected"), "messages": ("messages",)}
    needed = parts.get(format or "", ("question", "answer"))
    if format == "sharegpt":
        needed = ("messages",)
    missing = [part for part in needed if part not in given]
    if missing != list(needed):
        what = f"column of the part {' or '.join(missing)} was" if missing else what
    columns = list(dict.fromkeys(column for row in head for column in row))
    # Their own columns make the command one that can be copied, if not always the right one.
    places = iter(_wordiest(head, [c for c in columns if c not in given.values()], len(missing)))
    mapping = {part: given.get(part) or next(places, "COLUMN") for part in needed}
    example = " ".join(
        f"--map {shlex.quote(f'{part}={printable(column)}')}" for part, column in mapping.items()
    )
    return InvalidInput(
        f"{name}: no {what} found among {listed(columns)}.",
        remedy=f"Say which column is which, such as: {example}",
    )


def _wordiest(head: Sequence[Mapping[str, Any]], columns: list[str], most: int) -> list[str]:
    """The columns with the most letters in these rows, in their own order: numbers have none."""

    def letters(column: str) -> int:
        return sum(map(str.isalpha, "".join(str(row.get(column, "")) for row in head)))

    wordy = sorted(columns, key=letters, reverse=True)[:most]
    return [column for column in columns if column in wordy]


def _same(what: str, known: list[tuple[str, str]]) -> None:
    """Raise InvalidInput unless all are alike."""
    kinds = Counter(kind for _, kind in known)
    if len(kinds) < 2:
        return
    summary = ", ".join(f"{number} × {kind}" for kind, number in kinds.most_common())
    raise InvalidInput(
        f"The {len(known)} files are of different {what}: {summary}.",
        faults=[Fault(name, kind) for name, kind in known],
        remedy="Make a data asset of each kind; a glob names one: --source 'DIR/*.jsonl'.",
    )


def _same_columns(one: dict[str, str], other: dict[str, str], name: str, first: str) -> None:
    faults = [
        Fault(name, f"{part} is the column '{other[part]}', and '{one[part]}' in {first}")
        for part in one
        if part in other and one[part] != other[part]
    ]
    if faults:
        raise InvalidInput(
            "The files name their columns differently.",
            faults=faults,
            remedy="Make a data asset of each, or rename the columns.",
        )


def _default(format: DataFormat) -> dict[str, str]:
    return {
        "messages": {"messages": "messages"},
        "sharegpt": {"messages": "conversations"},
        "alpaca": {"question": "instruction", "answer": "output", "input": "input"},
        "prompt-completion": {"question": "prompt", "answer": "completion"},
        "question-answer": {"question": "question", "answer": "answer"},
        "preference": {"question": "prompt", "chosen": "chosen", "rejected": "rejected"},
    }[format]


def _no_object(value: Any) -> BadRow:
    if isinstance(value, BadRow):
        return value
    return BadRow("not an object", f"not an object but {named(value)}")
