"""Divide rows into training and test, and write them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from phoundry.data.row import Row
from phoundry.errors import InvalidInput

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Split(Generic[T]):
    """Every row is in exactly one of the two, in the order of the source."""

    train: list[T]
    test: list[T]


def split(rows: Sequence[T], test_size: float, seed: int) -> Split[T]:
    """Take `ceil(len(rows) * test_size)` rows for testing (the count of scikit-learn and datasets).

    Which ones depends on the seed and each row's place alone: rows are ranked by the SHA-256 of
    `seed:place`, so that the same call gives the same split on every machine and Python version.

    Raises:
        InvalidInput: `test_size` is not in [0, 1), there are no rows, or none would be left.
    """
    if not 0 <= test_size < 1:
        raise InvalidInput(
            f"The test size is {test_size}, and it must be at least 0 and below 1.",
            remedy="Choose the share of rows to keep for testing, such as 0.2.",
        )
    tested = math.ceil(len(rows) * test_size)
    if tested >= len(rows):
        raise InvalidInput(
            f"{len(rows)} row(s) with a test size of {test_size} leave none to train on.",
            remedy="Add rows, or choose a test size of 0.",
        )
    ranked = sorted(range(len(rows)), key=lambda place: _rank(seed, place))
    chosen = set(ranked[:tested])
    return Split(
        train=[row for place, row in enumerate(rows) if place not in chosen],
        test=[row for place, row in enumerate(rows) if place in chosen],
    )


def to_jsonl(rows: Iterable[Row]) -> bytes:
    """Canonical bytes: one row a line, keys in a fixed order, UTF-8, no spaces between."""
    lines = [
        json.dumps(
            {"messages": [{"role": m["role"], "content": m["content"]} for m in row["messages"]]},
            ensure_ascii=False,
            separators=(",", ":"),
        )
        for row in rows
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _rank(seed: int, place: int) -> bytes:
    return hashlib.sha256(f"{seed}:{place}".encode()).digest()
