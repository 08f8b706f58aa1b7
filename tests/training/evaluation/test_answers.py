"""Exact match and F1 against SQuAD's own script, as transformers carries it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.data.metrics import squad_metrics

from phoundry.training.evaluation import answers

WORDS = st.sampled_from(["the", "A", "an", "ten", "Ten,", "weeks", "weeks.", "-", "Anna's", "é"])
TEXTS = st.one_of(st.text(max_size=20), st.lists(WORDS, max_size=8).map(" ".join))


@given(TEXTS, TEXTS)
def test_both_are_squads(answer: str, reference: str) -> None:
    assert answers.f1(answer, reference) == pytest.approx(
        squad_metrics.compute_f1(reference, answer)
    )
    assert answers.exact(answer, reference) == squad_metrics.compute_exact(reference, answer)


@pytest.mark.parametrize(
    ("answer", "reference", "f1", "exact"),
    [
        ("It takes ten weeks.", "it takes TEN weeks", 1.0, 1.0),
        ("The permit takes ten weeks", "ten weeks", 2 * 0.5 * 1 / 1.5, 0.0),
        ("ten ten ten", "ten", 0.5, 0.0),
        ("", "the", 1.0, 1.0),
        ("", "weeks", 0.0, 0.0),
    ],
)
def test_by_hand(answer: str, reference: str, f1: float, exact: float) -> None:
    assert answers.f1(answer, reference) == pytest.approx(f1)
    assert answers.exact(answer, reference) == exact
