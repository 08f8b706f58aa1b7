from __future__ import annotations

from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from phoundry.errors import InsufficientResources
from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.estimate import ModelShape, check_memory, estimate_memory
from phoundry.training.model import TunedModel, read_config
from tests.training.conftest import CheckpointMaker

SMOLLM2 = ModelShape(30, 576, 1536, 49152, 9, 3, 64, 8192, tied=True)


def _parameters(**values: Any) -> FineTuneParameters:
    return FineTuneParameters.model_validate({"precision": "16", "apply_lora": True, **values})


@pytest.mark.parametrize(("kind", "tied"), [("llama", False), ("llama", True), ("phi3", False)])
def test_weights_are_counted_as_they_are(
    kind: str, tied: bool, checkpoint_maker: CheckpointMaker
) -> None:
    folder = checkpoint_maker(kind, tied=tied)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    assert ModelShape.from_config(read_config(folder)).weights == model.num_parameters()


@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_adapter_weights_are_counted_as_they_are(
    kind: str, checkpoint_maker: CheckpointMaker
) -> None:
    folder = checkpoint_maker(kind)
    tuned = TunedModel(folder, FineTuneParameters(apply_lora=True, lora_r=4))
    trained = sum(weight.numel() for weight in tuned.trainable().values())
    shape = ModelShape.from_config(read_config(folder))
    assert shape.adapter_weights(4) == trained


def test_smollm2_is_what_its_card_says() -> None:
    assert SMOLLM2.weights == 134_515_008
    assert SMOLLM2.adapter_weights(16) == 4_884_480


def test_more_of_anything_needs_more() -> None:
    base = estimate_memory(SMOLLM2, _parameters(), row_tokens=1024)
    assert estimate_memory(SMOLLM2, _parameters(), row_tokens=2048) > base
    assert estimate_memory(SMOLLM2, _parameters(precision="32"), row_tokens=1024) > base
    assert estimate_memory(SMOLLM2, _parameters(lora_r=64), row_tokens=1024) > base
    assert estimate_memory(SMOLLM2, _parameters(apply_lora=False), row_tokens=1024) > base


def test_what_does_not_fit_is_refused_with_both_numbers_and_a_remedy() -> None:
    check_memory(2_000_000_000, 2_000_000_000)
    with pytest.raises(InsufficientResources) as caught:
        check_memory(2_000_000_001, 1_900_000_000)
    assert "2.0 GB" in caught.value.message
    assert "1.9 GB" in caught.value.message
    assert "pack_length" in (caught.value.remedy or "")
