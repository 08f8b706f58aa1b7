"""Rows of whole conversations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.training.batch import Row, make_row, rows_of_step
from phoundry.training.decoder.layers import pieces
from phoundry.training.decoder.layout import Group, Layout
from phoundry.training.examples import Sample

SAMPLES = [
    Sample([1, 2, 3], [True, False, True]),
    Sample([4, 5, 6, 7], [False, False, True, True]),
]


def test_a_row_has_its_targets_where_they_are_predicted_from() -> None:
    row = make_row(SAMPLES)
    assert row.token_ids.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert row.groups == (Group(0, (3, 4)),)
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
    # They are learnt from their second token on, and so share nothing.
    assert all(group.prefix == 0 for row in rows for group in row.groups)
    seen = [
        int(part[0])
        for row in rows
        for part in pieces(row.token_ids, [n for group in row.groups for n in group.suffixes])
    ]
    assert sorted(seen) == list(range(len(samples)))
    assert sum(row.tokens for row in rows) == sum(lengths)
    assert all(row.tokens <= max(row_tokens, *lengths, 0) for row in rows)


SYSTEM = list(range(1000, 1100))
# A conversation by its tokens, and the places in it that are learnt.
Told = tuple[tuple[int, ...], tuple[int, ...]]


def _told(samples: Iterable[Sample]) -> list[Told]:
    """What a step has to be made of."""
    return sorted(
        (
            tuple(sample.token_ids),
            tuple(i for i, mine in enumerate(sample.supervised) if mine and i),
        )
        for sample in samples
    )


def _found(rows: Sequence[Row]) -> list[Told]:
    """The same, put together again from rows."""
    told: list[Told] = []
    for row in rows:
        ids = cast("list[int]", row.token_ids.tolist())
        places = cast("list[int]", row.places.tolist())
        assert row.targets.tolist() == [ids[place + 1] for place in places]
        pieces = Layout(row.groups).pieces
        # What stands where a prefix does is no conversation.
        prefixes = {piece.prefix_start for piece in pieces if piece.prefix}
        for piece in pieces:
            end = piece.start + piece.length
            mine = [place for place in places if piece.start <= place < end]
            if piece.start in prefixes:
                assert not mine
                continue
            prefix = ids[piece.prefix_start : piece.prefix_start + piece.prefix]
            learnt = tuple(place - piece.start + piece.prefix + 1 for place in mine)
            told.append(((*prefix, *ids[piece.start : end]), learnt))
    return sorted(told)


def _asked(prompt: Sequence[int], question: int, rest: int) -> Sample:
    """`rest` tokens after the prompt, the second half of them to be learnt."""
    ids = [*prompt, *(question for _ in range(rest))]
    return Sample(ids, [place >= len(ids) - rest // 2 for place in range(len(ids))])


def _learnt_from_anywhere(prompt: Sequence[int], learnt: Sequence[bool]) -> Sample:
    return Sample([*prompt, 7], [*learnt[: len(prompt)], True])


# Beginnings of one another, of which some are too short to be shared; and another one.
PROMPTS = st.sampled_from([SYSTEM[:30], SYSTEM[:12], SYSTEM[:5], [], list(range(2000, 2020))])
CONVERSATIONS = st.lists(
    st.builds(_asked, PROMPTS, st.integers(1, 4), st.integers(1, 30))
    | st.builds(_learnt_from_anywhere, PROMPTS, st.lists(st.booleans(), min_size=30, max_size=30)),
    min_size=1,
    max_size=12,
)


def test_a_shared_row_has_the_beginning_once() -> None:
    first, second, alone = (
        Sample([*SYSTEM[:10], 1, 2, 3], [False] * 11 + [True] * 2),
        Sample([*SYSTEM[:10], 4, 5], [False] * 11 + [True]),
        Sample([6, 7], [False, True]),
    )
    row = make_row([first, alone, second])
    assert row.token_ids.tolist() == [*SYSTEM[:10], 1, 2, 3, 4, 5, 6, 7]
    assert row.groups == (Group(10, (3, 2)), Group(0, (2,)))
    assert row.places.tolist() == [10, 11, 13, 15]
    assert row.targets.tolist() == [2, 3, 5, 7]
    assert row.tokens == 13 + 12 + 2


def test_a_row_that_shares_nothing_keeps_the_order() -> None:
    samples = [_asked(SYSTEM, number, 4) for number in range(3)]
    row = make_row(samples, share=False)
    assert row.token_ids.tolist() == [token for each in samples for token in each.token_ids]
    assert row.groups == (Group(0, (104, 104, 104)),)


@pytest.mark.parametrize("share", [True, False])
@given(samples=CONVERSATIONS)
def test_a_row_holds_its_conversations_whole(share: bool, samples: list[Sample]) -> None:
    row = make_row(samples, share=share)
    assert _found([row]) == _told(samples)
    assert row.tokens == sum(len(sample.token_ids) for sample in samples)
    assert len(row.token_ids) == sum(group.tokens for group in row.groups)
    assert len(row.token_ids) <= row.tokens


@pytest.mark.parametrize("share", [True, False])
@given(samples=CONVERSATIONS, row_tokens=st.integers(1, 120), cut=st.integers(0, 12))
def test_a_steps_rows_hold_its_conversations_once_and_are_no_longer_than_asked(
    share: bool, samples: list[Sample], row_tokens: int, cut: int
) -> None:
    packs = [range(len(samples))[:cut], range(len(samples))[cut:]]
    rows = rows_of_step(packs, samples, row_tokens, share=share)
    assert _found(rows) == _told(samples)
    assert sum(row.tokens for row in rows) == sum(len(sample.token_ids) for sample in samples)
    longest = max(len(sample.token_ids) for sample in samples)
    assert all(len(row.token_ids) <= max(row_tokens, longest) for row in rows)


@given(samples=CONVERSATIONS, row_tokens=st.integers(1, 120))
def test_sharing_never_computes_more_tokens(samples: list[Sample], row_tokens: int) -> None:
    rows = rows_of_step([range(len(samples))], samples, row_tokens)
    assert sum(len(row.token_ids) for row in rows) <= sum(row.tokens for row in rows)


def test_a_long_common_beginning_takes_fewer_rows() -> None:
    samples = [_asked(SYSTEM, number, 15) for number in range(8)]
    apart = rows_of_step([range(8)], samples, 256, share=False)
    assert [len(row.token_ids) for row in apart] == [230] * 4
    (row,) = rows_of_step([range(8)], samples, 256)
    assert row.groups == (Group(100, (15,) * 8),)


def test_a_beginning_stands_in_every_row_that_goes_on_from_it() -> None:
    """100 tokens and ten times 15 fill a row of 256 as far as it goes."""
    samples = [_asked(SYSTEM, number, 15) for number in range(20)]
    rows = rows_of_step([range(20)], samples, 256)
    assert [row.groups for row in rows] == [(Group(100, (15,) * 10),)] * 2
    assert all(row.token_ids[:100].tolist() == SYSTEM for row in rows)


def test_a_conversation_that_a_row_has_no_company_for_has_no_prefix() -> None:
    samples = [_asked(SYSTEM, number, 15) for number in range(3)]
    rows = rows_of_step([range(3)], samples, 110)
    assert [row.groups for row in rows] == [(Group(0, (115,)),)] * 3


def _begun(beginning: list[int], length: int, token: int) -> Sample:
    """`beginning`, and `token` from there on, of which the last is learnt."""
    ids = [*beginning, *[token] * (length - len(beginning))]
    return Sample(ids, [False] * (length - 1) + [True])


ALIKE = list(range(8))


def test_sharing_takes_no_more_rows_where_those_that_share_nothing_fill_gaps() -> None:
    samples = [
        _begun(ALIKE, 90, 101),
        _begun(ALIKE, 50, 102),
        _begun([50], 50, 103),
        _begun([51], 10, 104),
    ]
    rows = [len(rows_of_step([range(4)], samples, 100, share=share)) for share in (True, False)]
    assert rows == [2, 2]


def test_a_prefix_stands_once_in_a_row_that_a_long_conversation_has_widened() -> None:
    samples = [_begun([60], 300, 200), *(_begun(ALIKE, 40, 201 + i) for i in range(6))]
    rows = rows_of_step([range(7)], samples, 100)
    assert {row.groups for row in rows} == {(Group(0, (300,)),), (Group(8, (32,) * 6),)}
