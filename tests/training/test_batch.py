"""Rows of whole conversations."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from phoundry.training.batch import make_row, rows_of_step
from phoundry.training.decoder.layers import pieces
from phoundry.training.examples import Sample

SAMPLES = [
    Sample([1, 2, 3], [True, False, True]),
    Sample([4, 5, 6, 7], [False, False, True, True]),
]


def test_a_row_has_its_targets_where_they_are_predicted_from() -> None:
    row = make_row(SAMPLES)
    assert row.token_ids.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert row.segments == (3, 4)
    # The first token of a conversation follows nothing, supervised or not.
    assert row.places.tolist() == [1, 4, 5]
    assert row.targets.tolist() == [3, 6, 7]
    assert row.tokens == 7


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    row_tokens=st.integers(1, 80),
    shuffler=st.randoms(use_true_random=False),
)
def test_a_step_is_the_same_conversations_in_whatever_rows(
    lengths: list[int], row_tokens: int, shuffler: Random
) -> None:
    samples = [Sample([number] * length, [True] * length) for number, length in enumerate(lengths)]
    indices = list(range(len(samples)))
    shuffler.shuffle(indices)
    middle = len(indices) // 2
    rows = rows_of_step([indices[:middle], indices[middle:]], samples, row_tokens)
    seen = [int(part[0]) for row in rows for part in pieces(row.token_ids, row.segments)]
    assert sorted(seen) == list(range(len(samples)))
    assert sum(row.tokens for row in rows) == sum(lengths)
    assert all(row.tokens <= max(row_tokens, *lengths, 0) for row in rows)
