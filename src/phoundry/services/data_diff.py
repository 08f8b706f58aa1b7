"""Two data assets compared, row by row; in memory stay 16 bytes and a count for each row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from phoundry.data import line_digest
from phoundry.services import data
from phoundry.services.context import Context
from phoundry.specs.data import Change, DataAsset, DataDiff

# What tells how an asset was made.
COMPARED = (
    *("type", "source", "config", "split", "filename", "sha256", "format", "container", "mapping"),
    *("test_size", "seed", "skipped", "duplicates", "description", "tags"),
)


def diff(context: Context, before: str, after: str, *, limit: int) -> DataDiff:
    """Rows of `after` that `before` lacks, and the reverse; `limit` of each are shown.

    A row that is there several times counts as often.

    Raises:
        NotFound: one of the two is not there.
    """
    old, new = data.show(context, before), data.show(context, after)
    left: dict[bytes, int] = {}  # how often `before` has the row and `after` has not, so far
    held_out: set[bytes] = set()
    for line, tested in _lines(context, old):
        digest = line_digest(line)
        left[digest] = left.get(digest, 0) + 1
        if tested:
            held_out.add(digest)
    found = DataDiff(
        before=f"{old.name}:{old.version}",
        after=f"{new.name}:{new.version}",
        added=0,
        removed=0,
        kept=0,
        moved=0,
        changes=_changes(old, new),
    )
    for line, tested in _lines(context, new):
        digest = line_digest(line)
        if left.get(digest, 0):
            left[digest] -= 1
            found.kept += 1
            found.moved += tested != (digest in held_out)
        else:
            found.added += 1
            _show(found.added_rows, line, limit)
    for line, _ in _lines(context, old):
        digest = line_digest(line)
        if left[digest]:
            left[digest] -= 1
            found.removed += 1
            _show(found.removed_rows, line, limit)
    return found


def shared_rows(context: Context, training: DataAsset, validation: DataAsset) -> int:
    """How many of the rows that a job validates with are also among those that it trains on.

    It validates with the training split of its validation data: see `reconcile.jobs`.
    """
    if training.sha256 == validation.sha256 and training.train == validation.train:
        return validation.train.rows
    trained = {line_digest(line) for line in data.lines(context, training, "train")}
    held = data.lines(context, validation, "train")
    return sum(line_digest(line) in trained for line in held)


def _lines(context: Context, asset: DataAsset) -> Iterator[tuple[bytes, bool]]:
    """Each canonical line, and whether it is held out."""
    yield from ((line, False) for line in data.lines(context, asset, "train"))
    yield from ((line, True) for line in data.lines(context, asset, "test"))


def _show(rows: list[dict[str, Any]], line: bytes, limit: int) -> None:
    if len(rows) < limit:
        rows.append(json.loads(line))


def _changes(old: DataAsset, new: DataAsset) -> list[Change]:
    before, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    return [
        Change(field=name, before=before[name], after=after[name])
        for name in COMPARED
        if before[name] != after[name]
    ]
