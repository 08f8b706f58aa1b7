"""Divide rows into training and test."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from phoundry.errors import InvalidInput

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Split(Generic[T]):
    """Every row is in exactly one of the two, in the order of the source."""

    train: list[T]
    test: list[T]


def split(rows: Sequence[T], test_size: float, seed: int) -> Split[T]:
    """`rows` divided by `test_places`. Raises InvalidInput as that does."""
    chosen = test_places(len(rows), test_size, seed)
    return Split(
        train=[row for place, row in enumerate(rows) if place not in chosen],
        test=[row for place, row in enumerate(rows) if place in chosen],
    )


def test_places(rows: int, test_size: float, seed: int) -> set[int]:
    """Which of `rows` are for testing: `ceil(rows * test_size)`, as in scikit-learn and datasets.

    Which ones depends on the seed and each row's place alone: rows are ranked by the SHA-256 of
    `seed:place`, so that the same call gives the same split on every machine and Python version.
    Who has rows that repeat earlier ones counts the different ones here and lets repeats follow.

    Raises:
        InvalidInput: `test_size` is not in [0, 1), there are no rows, or none would be left.
    """
    if not 0 <= test_size < 1:
        raise InvalidInput(
            f"The test size is {test_size}, and it must be at least 0 and below 1.",
            remedy="Choose the share of rows to keep for testing, such as 0.2.",
        )
    tested = math.ceil(rows * test_size)
    if tested >= rows:
        raise InvalidInput(
            f"{rows} row(s) with a test size of {test_size} leave none to train on "
            "(rows that repeat others count once).",
            remedy="Add rows, or choose a test size of 0.",
        )
    ranked = sorted(range(rows), key=lambda place: _rank(seed, place))
    return set(ranked[:tested])


# Not a test: pytest collects what is called test_ wherever a test module imports it.
test_places.__test__ = False  # type: ignore[attr-defined]


def _rank(seed: int, place: int) -> bytes:
    return hashlib.sha256(f"{seed}:{place}".encode()).digest()
