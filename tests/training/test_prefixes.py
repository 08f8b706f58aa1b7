"""Which conversations share their beginning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phoundry.training import prefixes
from phoundry.training.examples import Sample
from phoundry.training.prefixes import SHORTEST, Shared, shared_prefixes

SYSTEM = list(range(100, 120))
OTHER_SYSTEM = list(range(200, 212))


def _sample(prompt: Sequence[int], answer: Sequence[int]) -> Sample:
    return Sample([*prompt, *answer], [False] * len(prompt) + [True] * len(answer))


def _first_target(sample: Sample) -> int:
    """Place of the first token that is learnt from another; the last one where there is none."""
    learnt = [place for place, mine in enumerate(sample.supervised) if mine and place]
    return min(learnt, default=len(sample.token_ids))


def test_one_system_prompt_is_shared_by_all() -> None:
    samples = [_sample([*SYSTEM, number, 7], [8, number]) for number in range(3)]
    assert shared_prefixes(samples) == [Shared(20, [0, 1, 2])]


def test_two_system_prompts_make_two_groups() -> None:
    samples = [
        _sample([*system, number, 7], [8, number])
        for number, system in enumerate([SYSTEM, OTHER_SYSTEM] * 2)
    ]
    assert shared_prefixes(samples) == [Shared(20, [0, 2]), Shared(12, [1, 3])]


def test_conversations_that_share_nothing_are_one_group_without_a_prefix() -> None:
    samples = [_sample([number, *SYSTEM], [8]) for number in range(3)]
    assert shared_prefixes(samples) == [Shared(0, [0, 1, 2])]


def test_one_that_shares_nothing_stands_behind_those_that_do() -> None:
    samples = [
        _sample([5, *SYSTEM], [8]),
        *(_sample([*SYSTEM, number], [8]) for number in range(2)),
    ]
    assert shared_prefixes(samples) == [Shared(20, [1, 2]), Shared(0, [0])]


def test_equal_conversations_share_all_that_nothing_is_learnt_from() -> None:
    """Its last token is what the first supervised one is predicted from, so it is not shared."""
    samples = [_sample([*SYSTEM, 1, 2], [8, 9])] * 2
    assert shared_prefixes(samples) == [Shared(21, [0, 1])]


def test_equal_conversations_with_nothing_to_learn_keep_their_last_token() -> None:
    assert shared_prefixes([_sample(SYSTEM, [])] * 2) == [Shared(19, [0, 1])]


def test_a_conversation_that_is_learnt_from_its_second_token_on_shares_nothing() -> None:
    early = Sample([*SYSTEM, 1, 8], [False] + [True] * 21)
    others = [_sample([*SYSTEM, number], [8]) for number in range(2)]
    assert shared_prefixes([early, *others]) == [Shared(20, [1, 2]), Shared(0, [0])]
    assert shared_prefixes([early, early]) == [Shared(0, [0, 1])]


def test_a_first_token_that_is_marked_as_learnt_follows_nothing_and_is_shared() -> None:
    samples = [_sample([*SYSTEM, number], [8]) for number in range(2)]
    for sample in samples:
        sample.supervised[0] = True
    assert shared_prefixes(samples) == [Shared(20, [0, 1])]


def test_what_is_shorter_than_the_shortest_is_not_shared() -> None:
    for length, found in (
        (SHORTEST, [Shared(SHORTEST, [0, 1])]),
        (SHORTEST - 1, [Shared(0, [0, 1])]),
    ):
        samples = [_sample([*SYSTEM[:length], number], [8]) for number in range(2)]
        assert shared_prefixes(samples) == found


def _with_a_longer_prefix_of_two(length: int) -> list[Sample]:
    """Three conversations share 10 tokens, the last two of them `length`."""
    longer = [*SYSTEM[:10], *range(300, 290 + length)]
    return [
        _sample([*SYSTEM[:10], 1], [8]),
        _sample([*longer, 2], [8]),
        _sample([*longer, 3], [8]),
    ]


def test_the_longer_prefix_of_fewer_is_taken_where_it_saves_more() -> None:
    assert shared_prefixes(_with_a_longer_prefix_of_two(40)) == [Shared(40, [1, 2]), Shared(0, [0])]


def test_the_shorter_prefix_of_more_is_taken_where_that_saves_more() -> None:
    assert shared_prefixes(_with_a_longer_prefix_of_two(12)) == [Shared(10, [0, 1, 2])]


def test_no_conversations_are_no_groups() -> None:
    assert shared_prefixes([]) == []


# Of two tokens, so that conversations often begin alike.
TOKENS = st.lists(st.tuples(st.integers(1, 2), st.booleans()), min_size=1, max_size=8)
SAMPLES = TOKENS.map(
    lambda tokens: Sample([token for token, _ in tokens], [mine for _, mine in tokens])
)
# Mostly unsupervised at the head, as conversations are.
ASKED = st.builds(
    _sample, st.lists(st.integers(1, 2), min_size=1, max_size=8), st.lists(st.just(3), max_size=2)
)


def _found(samples: list[Sample], shortest: int) -> list[Shared]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(prefixes, "SHORTEST", shortest)
        return shared_prefixes(samples)


@given(st.lists(SAMPLES | ASKED, max_size=12), st.integers(1, 3))
def test_every_conversation_is_in_one_group_whose_prefix_it_has(
    samples: list[Sample], shortest: int
) -> None:
    groups = _found(samples, shortest)
    assert sorted(index for group in groups for index in group.members) == [*range(len(samples))]
    for group in groups:
        members = [samples[index] for index in group.members]
        assert group.members == sorted(group.members)
        assert len({tuple(sample.token_ids[: group.prefix]) for sample in members}) == 1
        for sample in members:
            assert group.prefix < len(sample.token_ids)
            assert group.prefix == 0 or group.prefix <= _first_target(sample) - 1
        assert group.prefix == 0 or (group.prefix >= shortest and len(members) > 1)
    assert all(group.prefix for group in groups[:-1])


@given(st.lists(SAMPLES | ASKED, max_size=12))
def test_the_groups_are_a_function_of_the_conversations(samples: list[Sample]) -> None:
    copies = [Sample([*each.token_ids], [*each.supervised]) for each in samples]
    assert _found(samples, 1) == _found(copies, 1)


def _common(members: Sequence[Sample]) -> int:
    """The most tokens that these may share."""
    most = min(_first_target(sample) - 1 for sample in members)
    first = members[0].token_ids
    while any(sample.token_ids[:most] != first[:most] for sample in members):
        most -= 1
    return most


def _partitions(places: list[int]) -> Iterator[list[list[int]]]:
    """All ways to put them into groups."""
    if not places:
        yield []
        return
    first, *rest = places
    for groups in _partitions(rest):
        yield [[first], *groups]
        for number, group in enumerate(groups):
            yield [*groups[:number], [first, *group], *groups[number + 1 :]]


def _saving(groups: list[list[int]], samples: list[Sample], shortest: int) -> int:
    saved = 0
    for group in groups:
        common = _common([samples[place] for place in group])
        if common >= shortest:
            saved += (len(group) - 1) * common
    return saved


def _is_all_that_begin_so(group: list[int], samples: list[Sample]) -> bool:
    common = _common([samples[place] for place in group])
    first = samples[group[0]].token_ids[:common]
    alike = [
        place
        for place, sample in enumerate(samples)
        if sample.token_ids[:common] == first and common < _first_target(sample)
    ]
    return alike == sorted(group)


def _saved(samples: list[Sample], shortest: int) -> int:
    return sum((len(group.members) - 1) * group.prefix for group in _found(samples, shortest))


FEW = st.lists(SAMPLES | ASKED, min_size=1, max_size=5)


@given(FEW, st.integers(1, 2))
@settings(max_examples=300)
def test_no_other_grouping_by_all_that_begin_alike_saves_more(
    samples: list[Sample], shortest: int
) -> None:
    """A group takes in all conversations that have its beginning, and none has a group inside."""
    every = [
        [group for group in groups if len(group) == 1 or _is_all_that_begin_so(group, samples)]
        for groups in _partitions(list(range(len(samples))))
    ]
    best = max(_saving(groups, samples, shortest) for groups in every)
    assert _saved(samples, shortest) >= best


@given(FEW, st.integers(1, 2))
@settings(max_examples=300)
@example(
    [_sample([1, 1, 1, 1, last], [3]) for last in (4, 5)]
    + [_sample([1, last], [3]) for last in (6, 7)],
    1,
)
# Two and three share as much as the last two alone; then the third may share with the first.
@example([_sample([1] * length, []) for length in (2, 3, 5, 5)], 1)
def test_no_other_grouping_saves_more(samples: list[Sample], shortest: int) -> None:
    every = _partitions(list(range(len(samples))))
    best = max(_saving(groups, samples, shortest) for groups in every)
    assert _saved(samples, shortest) == best
