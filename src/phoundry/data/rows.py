"""Read `messages` JSONL line by line and say everything that is wrong with it.

    {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}

Other keys beside `messages` (`id`, `prompt`, `category`, …) are allowed and left out. A byte order
mark is taken off, Windows line ends and blank lines are fine. No more than one line is in memory at
a time until a caller keeps the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from phoundry.data.row import BadRow, Row, parse_row
from phoundry.errors import Fault, InvalidInput, NotFound

# A row is a conversation: beyond this it is another kind of file, and would only fill the memory.
MAX_ROW_BYTES = 32 * 1024 * 1024
# Every bad row is counted; so many are kept with their line.
MAX_FAULTS = 10_000

_BOM = b"\xef\xbb\xbf"
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x1f\x8b": "gzip", b"PK": "zip"}


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that can't be used. `kind` groups the like ones; `reason` has the details."""

    line: int
    kind: str
    reason: str


@dataclass(slots=True)
class ReadResult:
    """A whole file: `len(rows) + refused` is the number of its rows that are not blank."""

    name: str
    rows: list[Row] = field(default_factory=list[Row])
    faults: list[Fault] = field(default_factory=list[Fault])
    counts: Counter[str] = field(default_factory=Counter[str])
    had_bom: bool = False

    @property
    def refused(self) -> int:
        return self.counts.total()

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


def iter_messages(path: Path) -> Iterator[Row | RefusedRow]:
    """Each row of the file that is not blank, good or refused, in order.

    Raises:
        NotFound: no such file.
        InvalidInput: not a text file at all (UTF-16, gzip, zip).
    """
    with _open(path, path.name) as file:
        for number, line in enumerate(_lines(file), start=1):
            text = line.removeprefix(_BOM) if number == 1 else line
            if len(text) > MAX_ROW_BYTES:
                reason = f"longer than {MAX_ROW_BYTES // 1024**2} MiB"
                yield RefusedRow(number, "row too long", reason)
            elif text.strip():
                try:
                    row = parse_row(text)
                except BadRow as bad:
                    yield RefusedRow(number, bad.kind, bad.reason)
                else:
                    yield row


def read_messages(path: Path, name: str | None = None) -> ReadResult:
    """Every row of the file with every fault, at most `MAX_FAULTS` of them with their line.

    `name` is what faults call the file (default: its own name).

    Raises:
        NotFound: no such file.
        InvalidInput: not a text file at all.
    """
    result = ReadResult(name=name or path.name)
    with _open(path, result.name) as file:
        result.had_bom = file.read(len(_BOM)) == _BOM
    for row in iter_messages(path):
        if not isinstance(row, RefusedRow):
            result.rows.append(row)
            continue
        result.counts[row.kind] += 1
        if len(result.faults) < MAX_FAULTS:
            result.faults.append(Fault(f"{result.name}:{row.line}", row.reason))
    return result


def check_messages(path: Path, name: str | None = None) -> Checked:
    """The file's rows, all of them good.

    Raises:
        NotFound: no such file.
        InvalidInput: it is empty, or has bad rows: all are counted, the first ones shown.
    """
    result = read_messages(path, name)
    if not result.total:
        raise InvalidInput(
            f"{result.name} is empty: it holds no conversation.",
            remedy='Put one conversation on each line: {"messages": [{"role": "user", '
            '"content": "…"}, {"role": "assistant", "content": "…"}]}',
        )
    if result.refused:
        grouped = ", ".join(f"{n} × {kind}" for kind, n in result.counts.most_common())
        raise InvalidInput(
            f"{result.name}: {result.refused} of {result.total} rows cannot be used ({grouped}).",
            faults=result.faults,
            total=result.refused,
            remedy=_remedy(result),
        )
    return Checked(result.name, result.rows, result.notices)


def _remedy(result: ReadResult) -> str:
    if result.counts["not JSON"] and not result.rows:
        return "This does not look like JSONL: each line must be a JSON object of its own."
    return "Correct or remove these lines and try again; nothing was stored."


def _open(path: Path, name: str) -> BinaryIO:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise InvalidInput(f"{path} is a folder, not a JSONL file.") from None
    start = file.read(2)
    if other := _OTHER_ENCODINGS.get(start):
        file.close()
        raise InvalidInput(
            f"{name} is {other}, and UTF-8 text is needed.",
            remedy="Save it as UTF-8 JSONL: one conversation a line.",
        )
    file.seek(0)
    return file


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines of a binary file; of one that is too long, `MAX_ROW_BYTES + 1` bytes and no more."""
    while line := file.readline(MAX_ROW_BYTES + 1):
        yield line
        rest = line
        while len(rest) > MAX_ROW_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MAX_ROW_BYTES + 1)
