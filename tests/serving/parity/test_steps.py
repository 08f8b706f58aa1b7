"""The comparison over ids and logits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.serving.parity.steps import (
    Place,
    Said,
    divergences,
    drifts,
    root_mean_square,
    shares,
    trained_divergences,
)

END = 9
TOKENS = st.integers(0, 9)


def place(best: int, behind: float = 0.0, end_behind: float = 5.0, margin: float = 0.0) -> Place:
    return Place(best, margin or behind, behind, end_behind, spread=2.0)


@st.composite
def answers(draw: st.DrawFn) -> tuple[Said, list[Place]]:
    """An answer, and a reference that ranks its tokens as logits can: the best is 0 behind."""
    ids = draw(st.lists(st.integers(0, 8), max_size=6))
    places: list[Place] = []
    for token in [*ids, END]:
        best = draw(TOKENS)
        behind = 0.0 if best == token else draw(st.floats(0.01, 10))
        end_behind = 0.0 if best == END else draw(st.floats(0.01, 10))
        if token == END:
            behind = end_behind
        places.append(Place(best, draw(st.floats(0, behind)), behind, end_behind, 2.0))
    return Said(tuple(ids), draw(st.booleans())), places


def test_the_same_tokens_and_the_same_end_are_no_divergence() -> None:
    places = [place(1), place(2), place(END, end_behind=0.0)]
    assert divergences(Said((1, 2), True), places, {END}, 0.0) == []


@pytest.mark.parametrize(("behind", "allowed"), [(0.19, True), (0.2, True), (0.21, False)])
def test_another_token_passes_within_the_tolerance_alone(behind: float, allowed: bool) -> None:
    (found,) = divergences(Said((3,), False), [place(1, behind), place(1)], {END}, 0.1)
    assert (found.kind, found.expected, found.found) == ("token", 1, 3)
    assert (found.limit, found.allowed) == (pytest.approx(0.2), allowed)


def test_who_goes_on_where_the_reference_ends() -> None:
    (found,) = divergences(Said((3,), False), [place(END, 4.0), place(1)], {END}, 0.1)
    assert (found.kind, found.allowed) == ("goes_on", False)


def test_who_ends_where_the_reference_goes_on() -> None:
    (found,) = divergences(Said((), True), [place(1, end_behind=4.0)], {END}, 0.1)
    assert (found.kind, found.step, found.found, found.allowed) == ("ends", 0, None, False)


def test_an_answer_that_was_cut_need_not_end() -> None:
    assert divergences(Said((1,), False), [place(1), place(2)], {END}, 0.0) == []


@given(answers())
def test_an_end_token_inside_an_answer_never_passes(case: tuple[Said, list[Place]]) -> None:
    said, places = case
    spoken = Said((END, *said.ids), said.ended)
    found = divergences(spoken, [place(END, end_behind=0.0), *places], {END}, 1e9)
    assert [each.kind for each in found if not each.allowed] == ["unended"]


@given(answers(), st.floats(0, 5), st.floats(0, 5))
def test_a_wider_tolerance_allows_no_less(
    case: tuple[Said, list[Place]], one: float, other: float
) -> None:
    said, places = case
    narrow, wide = sorted((one, other))
    few = [each.allowed for each in divergences(said, places, {END}, narrow)]
    more = [each.allowed for each in divergences(said, places, {END}, wide)]
    assert len(few) == len(more)
    assert all(b or not a for a, b in zip(few, more, strict=True))


@given(answers())
def test_the_largest_share_is_the_tolerance_that_is_needed(case: tuple[Said, list[Place]]) -> None:
    said, places = case
    needed = max(shares(said, places, {END}), default=0.0)
    assert all(each.allowed for each in divergences(said, places, {END}, needed * 1.0001))
    if needed:
        found = divergences(said, places, {END}, needed * 0.999)
        assert not all(each.allowed for each in found)


@given(answers(), st.floats(0, 5))
def test_never_more_lenient_than_the_margin(
    case: tuple[Said, list[Place]], tolerance: float
) -> None:
    """What is allowed has the reference's two likeliest within the tolerance too."""
    said, places = case
    for each in divergences(said, places, {END}, tolerance):
        assert not each.allowed or each.margin <= each.limit


def test_there_is_a_place_for_the_end() -> None:
    with pytest.raises(ValueError, match="1 places for 1 tokens and an end"):
        divergences(Said((1,), True), [place(1)], {END}, 0.1)


def test_what_the_tuned_model_said_is_held_to_the_registered_one() -> None:
    places = [place(1), place(2, 0.5), place(END, 3.0), place(4, 3.0)]
    found = trained_divergences([1, 3, 5, END], places, {END}, 0.3)
    assert [(each.kind, each.allowed) for each in found] == [
        ("token", True),
        ("goes_on", False),
        ("ends", False),
    ]
    assert trained_divergences([8], [place(END, 3.0)], {8, END}, 0.0) == [], "both end"


def test_margins_that_moved() -> None:
    places = [place(1, margin=3.0), place(2, margin=1.0)]
    assert drifts([5.0, 1.0], places) == [1.0, 0.0]
    assert root_mean_square([1.0, 0.0]) == pytest.approx(0.5**0.5)
    assert root_mean_square([]) == 0.0
