from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.training.packing import EpochOrder, pack

LENGTHS = st.lists(st.integers(1, 64), min_size=1, max_size=60)


@given(LENGTHS)
def test_every_conversation_is_in_exactly_one_pack_that_holds_it(lengths: list[int]) -> None:
    packs = pack(lengths, 64)
    assert sorted(index for row in packs for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= 64 for row in packs)


@given(LENGTHS)
def test_best_fit_decreasing_keeps_its_bound(lengths: list[int]) -> None:
    """Best-fit decreasing uses at most 11/9 of the best number of packs, plus one."""
    least = -(-sum(lengths) // 64)
    half_full = sum(length > 32 for length in lengths)
    lower_bound = max(least, half_full)
    packs = len(pack(lengths, 64))
    assert packs >= lower_bound
    # No two packs could be one.
    loads = sorted(sum(lengths[i] for i in row) for row in pack(lengths, 64))
    assert len(loads) < 2 or loads[0] + loads[1] > 64


def _fewest(lengths: list[int], capacity: int) -> int:
    """The best number of packs there is, found by trying every way."""
    best = len(lengths)

    def place(rest: list[int], free: list[int]) -> None:
        nonlocal best
        if len(free) >= best:
            return
        if not rest:
            best = len(free)
            return
        length, tried = rest[0], set[int]()
        for number, room in enumerate(free):
            if room >= length and room not in tried:
                tried.add(room)
                place(rest[1:], [*free[:number], room - length, *free[number + 1 :]])
        place(rest[1:], [*free, capacity - length])

    place(sorted(lengths, reverse=True), [])
    return best


@given(st.lists(st.integers(1, 20), min_size=1, max_size=9))
def test_at_most_eleven_ninths_of_the_best_and_one(lengths: list[int]) -> None:
    assert len(pack(lengths, 20)) <= 11 / 9 * _fewest(lengths, 20) + 1


@given(LENGTHS, st.integers(64, 200))
def test_the_same_arguments_give_the_same_packs(lengths: list[int], capacity: int) -> None:
    assert pack(lengths, capacity) == pack(tuple(lengths), capacity)


def test_equal_conversations_keep_their_order() -> None:
    assert pack([5] * 6, 10) == [[0, 1], [2, 3], [4, 5]]


def test_the_longest_go_first_into_the_fullest_pack_that_takes_them() -> None:
    assert pack([3, 7, 5, 2, 3], 10) == [[1, 0], [2, 4, 3]]


def test_a_conversation_longer_than_a_pack_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match="conversation 1 has 11 tokens, a pack takes 10"):
        pack([3, 11], 10)


@given(LENGTHS, st.integers(1, 4), st.integers(0, 9))
def test_every_epoch_has_the_same_number_of_steps_and_all_conversations(
    lengths: list[int], batch: int, epoch: int
) -> None:
    order = EpochOrder(lengths, capacity=64, batch=batch, seed=1)
    steps = order.steps(epoch)
    assert len(steps) == order.steps_per_epoch
    seen = [index for step in steps for row in step for index in row]
    assert sorted(seen) == list(range(len(lengths)))
    assert steps == EpochOrder(lengths, capacity=64, batch=batch, seed=1).steps(epoch)


def test_epochs_and_seeds_differ() -> None:
    lengths = [10] * 40
    order = EpochOrder(lengths, capacity=30, batch=2, seed=1)
    assert order.steps(0) != order.steps(1)
    assert order.steps(0) != EpochOrder(lengths, capacity=30, batch=2, seed=2).steps(0)
    company = [{frozenset(row) for step in order.steps(e) for row in step} for e in (0, 1)]
    assert company[0] != company[1]


def test_without_packing_a_pack_is_one_conversation() -> None:
    order = EpochOrder([5, 6, 7], capacity=None, batch=2, seed=0)
    assert [len(row) for step in order.steps(0) for row in step] == [1, 1, 1]
    assert order.steps_per_epoch == 2
