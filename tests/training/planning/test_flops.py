from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.planning.flops import (
    flops_per_evaluated_token,
    flops_per_token,
    mean_segment,
)
from phoundry.training.planning.shape import ModelShape

PHI3 = ModelShape(32, 3072, 8192, 32064, 32, 32, 96, 4096, tied=False, fused=True)
SMOLLM2 = ModelShape(30, 576, 1536, 49152, 9, 3, 64, 8192, tied=True)
LORA = FineTuneParameters(apply_lora=True, lora_r=8)
FULL = FineTuneParameters()


@pytest.mark.parametrize(
    ("shape", "decoder", "head", "adapters"),
    [(PHI3, 3.624e9, 98.5e6, 12.6e6), (SMOLLM2, 106e6, 28.3e6, 2.4e6)],
)
def test_the_sizes_are_the_published_ones(
    shape: ModelShape, decoder: float, head: float, adapters: float
) -> None:
    assert shape.linear_weights == pytest.approx(decoder, rel=2e-3)
    assert shape.vocabulary * shape.hidden == pytest.approx(head, rel=2e-3)
    assert shape.adapter_weights(8) == pytest.approx(adapters, rel=2e-2)


def test_a_lora_token_of_smollm2_worked_by_hand() -> None:
    """4P + 4fH + 6A + 6·L·d·s̄ with f = 0.6 and s̄ = 100."""
    by_hand = 4 * 106_168_320 + 4 * 0.6 * 28_311_552 + 6 * 2_442_240 + 6 * 30 * 576 * 100
    found = flops_per_token(SMOLLM2, LORA, supervised_share=0.6, mean_segment=100)
    assert found == pytest.approx(by_hand, rel=1e-9)


def test_a_full_token_of_phi3_worked_by_hand() -> None:
    by_hand = 6 * 3_623_878_656 + 6 * 0.5 * 98_500_608 + 6 * 32 * 3072 * 1000
    found = flops_per_token(PHI3, FULL, supervised_share=0.5, mean_segment=1000)
    assert found == pytest.approx(by_hand, rel=1e-9)


def test_looking_costs_a_third_of_full_training() -> None:
    seen = flops_per_evaluated_token(SMOLLM2, supervised_share=0.5, mean_segment=120)
    trained = flops_per_token(SMOLLM2, FULL, supervised_share=0.5, mean_segment=120)
    assert trained == pytest.approx(3 * seen)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=50))
def test_the_mean_segment_lies_between_the_mean_and_the_longest(lengths: list[int]) -> None:
    mean = sum(lengths) / len(lengths)
    assert mean - 1e-9 <= mean_segment(lengths) <= max(lengths)


def test_no_conversation_has_no_mean_segment() -> None:
    assert mean_segment([]) == 0
    assert mean_segment([100, 300]) == 250


def test_a_shared_beginning_goes_through_the_decoder_once_and_the_head_is_as_before() -> None:
    whole = flops_per_token(SMOLLM2, LORA, supervised_share=0.6, mean_segment=100)
    spared = flops_per_token(
        SMOLLM2, LORA, supervised_share=0.6, mean_segment=100, computed_share=0.75
    )
    head = 4 * 0.6 * 28_311_552
    assert spared - head == pytest.approx(0.75 * (whole - head), rel=1e-9)
