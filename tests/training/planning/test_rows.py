"""What rows say of time and memory."""

from __future__ import annotations

from phoundry.training.batch import make_row, rows_of_step
from phoundry.training.examples import Sample
from phoundry.training.planning.estimate import MOST_SIZES, estimate_memory
from phoundry.training.planning.rows import Rows
from tests.training.planning.test_estimate import SMOLLM2, parameters_of


def _sample(*token_ids: int, supervised: int) -> Sample:
    """Its last so many tokens are learnt."""
    asked = len(token_ids) - supervised
    return Sample(list(token_ids), [False] * asked + [True] * supervised)


def test_a_prefix_is_computed_once_and_looked_at_by_each() -> None:
    prefix = tuple(range(100, 140))
    samples = [_sample(*prefix, number, 7, 8, supervised=2) for number in range(5)]
    (row,) = rows_of_step([[0, 1, 2, 3, 4]], samples, 1024)
    found = Rows.of([row])
    assert (found.whole, found.computed, found.longest) == (5 * 43, 40 + 5 * 3, 55)
    assert found.gathered == 40 + 5 * 43
    assert found.pairs == 40 * 40 + 5 * 3 * 43
    assert found.computed_share == 55 / 215


def test_weights_of_long_conversations_are_not_kept() -> None:
    long = make_row([_sample(*range(600), supervised=1)])
    assert (Rows.of([long]).pairs, Rows.of([long]).gathered) == (0, 600)


def test_the_heaviest_of_several_rows_is_told() -> None:
    short, longer = (make_row([_sample(*range(n), supervised=1)]) for n in (10, 90))
    both = Rows.of([longer, short])
    assert (both.longest, both.pairs, both.gathered, both.computed) == (90, 8100, 90, 100)
    assert both.sizes == 2 + 1  # rows of 32 and 96 tokens, and one of supervised ones


def test_copies_of_a_prefix_are_memory() -> None:
    plain = estimate_memory(SMOLLM2, parameters_of(), row_tokens=1024, gathered=1024)
    copied = estimate_memory(SMOLLM2, parameters_of(), row_tokens=1024, gathered=51_024)
    one_layer = 50_000 * 2 * SMOLLM2.key_heads * SMOLLM2.head_width * 2
    assert one_layer < copied - plain < 6 * one_layer


def test_plans_are_kept_for_so_many_sizes_and_no_more() -> None:
    many, more = (
        estimate_memory(SMOLLM2, parameters_of(), row_tokens=512, sizes=sizes)
        for sizes in (MOST_SIZES, 10 * MOST_SIZES)
    )
    assert many == more
