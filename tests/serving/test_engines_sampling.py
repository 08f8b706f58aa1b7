"""The reference of sampling against transformers' own processors."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from phoundry.serving.engines.base import SamplingParams
from phoundry.serving.engines.sampling import choose, penalised, truncated


@settings(deadline=None)
@given(
    st.integers(0, 2**31),
    st.floats(0.1, 2),
    st.integers(0, 12),
    st.floats(0.05, 1),
)
def test_truncation_is_that_of_transformers(
    seed: int, temperature: float, top_k: int, top_p: float
) -> None:
    logits = torch.randn(10, generator=torch.Generator().manual_seed(seed)) * 3
    ids: Any = torch.zeros(1, 1, dtype=torch.long)
    expected: Any = logits[None]
    expected = TemperatureLogitsWarper(temperature)(ids, expected)
    if top_k:
        expected = TopKLogitsWarper(top_k)(ids, expected)
    if top_p < 1:
        expected = TopPLogitsWarper(top_p)(ids, expected)
    ours = truncated(logits / temperature, top_k, top_p)
    ours = ours / ours.sum()
    torch.testing.assert_close(ours, expected[0].softmax(-1), atol=1e-5, rtol=1e-4)


def test_penalties_are_openais_formula() -> None:
    params = SamplingParams(1, presence_penalty=0.5, frequency_penalty=0.25)
    logits = penalised(torch.zeros(4), [1, 2, 2, 2], params)
    assert logits.tolist() == [0.0, -0.75, -1.25, 0.0]


def test_draws_follow_the_probabilities() -> None:
    logits = torch.tensor([0.5, 0.3, 0.2, 0.0]).log()
    generator = torch.Generator().manual_seed(5)
    params = SamplingParams(1, temperature=1.0)
    seen = Counter(choose(logits, [], params, generator) for _ in range(2000))
    statistic = sum((seen[i] - n) ** 2 / n for i, n in enumerate([1000, 600, 400]))
    assert statistic < 13.8  # chi-square, two degrees of freedom, 0.1 %
    assert 3 not in seen


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_seed_repeats(temperature: float) -> None:
    logits = torch.randn(50, generator=torch.Generator().manual_seed(1))
    params = SamplingParams(1, temperature=temperature)
    drawn = [
        [choose(logits, [], params, generator) for _ in range(20)]
        for generator in (torch.Generator().manual_seed(3), torch.Generator().manual_seed(3))
    ]
    assert drawn[0] == drawn[1]
    assert (len(set(drawn[0])) == 1) == (temperature == 0)
