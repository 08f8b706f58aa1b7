"""From rows of any source to the two splits of an asset, a row at a time.

The rows go to disk once as canonical lines, because only their number says which are held out; then
the lines are dealt to the two splits. In memory stay a digest and a number for each row.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from phoundry.data import (
    Refusals,
    RefusedRow,
    RowReader,
    line_digest,
    test_places,
    to_line,
)
from phoundry.errors import Cancelled
from phoundry.specs.data import DataSpec, SkippedRow

KEPT_SKIPPED = 100  # of the rows that were left out, so many are told
CHECKED_EVERY = 1000  # rows between two looks whether anybody still waits


@dataclass(slots=True)
class Part:
    """One split: canonical JSONL in a file of its own."""

    path: Path
    rows: int = 0


@dataclass(slots=True)
class Taken:
    """What became of the rows: `rows_read` is the number of those kept and those skipped."""

    train: Part
    test: Part | None
    rows_read: int
    skipped: int
    skipped_rows: list[SkippedRow]
    duplicates: int
    notices: list[str]


def take(
    reader: RowReader,
    spec: DataSpec,
    name: str,
    folder: Path,
    stopped: Callable[[], bool] = lambda: False,
) -> Taken:
    """Read every row, refuse or skip the bad ones, and write the splits into `folder`.

    A row that repeats an earlier one goes where that one went: what is tested was never taught.
    Which rows are held out is decided among the different ones.

    Raises:
        InvalidInput: `name` has more bad rows than `spec.skip_bad`, all counted; or no good ones.
        Cancelled: `stopped` says that nobody waits any more.
    """
    lines = folder / "rows.jsonl"
    refusals = Refusals(allowed=spec.skip_bad)
    seen: dict[bytes, int] = {}
    firsts = array("Q")  # for each row, the number of the different one that it says
    with lines.open("wb") as file:
        for number, row in enumerate(reader):
            if number % CHECKED_EVERY == 0 and stopped():
                raise Cancelled(f"Creating '{spec.name}' was cancelled. Nothing was kept.")
            if isinstance(row, RefusedRow):
                refusals.add(row)
                continue
            line = to_line(row)
            firsts.append(seen.setdefault(line_digest(line), len(seen)))
            file.write(line)
    refusals.check(len(firsts), name)
    held_out = test_places(len(seen), spec.test_size, spec.seed)
    train, test = deal(lines, firsts, held_out, folder)
    lines.unlink()
    return Taken(
        train=train,
        test=test if test.rows else None,
        rows_read=len(firsts) + refusals.total,
        skipped=refusals.total,
        skipped_rows=[
            SkippedRow(where=fault.where, reason=fault.reason)
            for fault in refusals.faults[:KEPT_SKIPPED]
        ],
        duplicates=len(firsts) - len(seen),
        notices=list(reader.notices),
    )


def deal(lines: Path, firsts: Iterable[int], held_out: set[int], folder: Path) -> tuple[Part, Part]:
    """Copy each line to the split that its number is for; the splits in the source's order."""
    train, test = Part(folder / "train.jsonl"), Part(folder / "test.jsonl")
    with lines.open("rb") as source, train.path.open("wb") as one, test.path.open("wb") as other:
        for first, line in zip(firsts, source, strict=True):
            if first in held_out:
                test.rows += 1
                other.write(line)
            else:
                train.rows += 1
                one.write(line)
    return train, test
