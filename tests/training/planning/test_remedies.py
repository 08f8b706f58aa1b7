"""What would fit, when something does not: only what truly does, and the cheapest first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.errors import InsufficientResources
from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.planning.remedies import Needs, check_fits, too_large, what_would_fit
from phoundry.training.planning.shape import ModelShape

PHI3 = ModelShape(32, 3072, 8192, 32064, 32, 32, 96, 4096, tied=False, fused=True)
LENGTHS = [120, 300, 1800]


def _needs(lengths: list[int] = LENGTHS, **values: Any) -> Needs:
    return Needs(PHI3, FineTuneParameters.model_validate(values), lengths)


@given(
    st.booleans(),
    st.sampled_from(["16", "32"]),
    st.sampled_from(["auto", "true", "false"]),
    st.sampled_from(["adamw_torch", "adafactor"]),
    st.integers(1, 64),
    st.integers(10**9, 120 * 10**9),
)
def test_what_is_named_fits_and_changes_something(
    lora: bool, precision: str, recompute: str, optim: str, rank: int, available: int
) -> None:
    needs = _needs(
        apply_lora=lora,
        precision=precision,
        gradient_checkpointing=recompute,
        optim=optim,
        lora_r=rank,
    )
    for remedy in what_would_fit(needs, available):
        assert remedy.bytes == needs.least(remedy.settings) <= available
        assert all(getattr(needs.parameters, name) != v for name, v in remedy.settings.items())


def test_lora_is_what_a_full_fine_tune_is_told() -> None:
    needs = _needs(precision="16")
    least = needs.least({"apply_lora": True})
    remedies = what_would_fit(needs, least + 1)
    assert {"apply_lora": True} in [each.settings for each in remedies]
    assert all(each.bytes <= least + 1 for each in remedies)


def test_where_no_single_setting_does_several_together_are_named() -> None:
    needs = _needs(precision="32", gradient_checkpointing="false")
    both = needs.least({"precision": "16", "gradient_checkpointing": "true", "apply_lora": True})
    (found,) = what_would_fit(needs, both)
    assert found.settings["precision"] == "16"
    assert found.settings["apply_lora"] is True
    assert found.bytes <= both


def test_cutting_conversations_says_how_many() -> None:
    needs = _needs(lengths=[100] * 9 + [4000], precision="16", apply_lora=True)
    available = needs.least({"max_seq_length": 512})
    cut = [str(each) for each in what_would_fit(needs, available)]
    assert any(
        "max_seq_length=512" in said and "1 conversations would be cut" in said for said in cut
    )


def test_the_refusal_names_both_numbers_and_what_would_fit() -> None:
    needs = _needs(precision="16")
    least = needs.least()
    check_fits(needs, least)
    with pytest.raises(InsufficientResources) as caught:
        check_fits(needs, least - 1)
    assert f"{least / 1e9:.1f} GB" in caught.value.message
    assert "apply_lora=true" in (caught.value.remedy or "")


def test_where_nothing_helps_that_is_said() -> None:
    refusal = too_large(_needs(apply_lora=True, precision="16"), 10**9)
    assert "smaller model" in (refusal.remedy or "")


def test_lengths_need_not_be_known() -> None:
    known = Needs(PHI3, FineTuneParameters(), [4000]).least()
    assert 0 < Needs(PHI3, FineTuneParameters()).least() < known
