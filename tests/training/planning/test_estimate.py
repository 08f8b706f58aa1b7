from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from phoundry.specs.finetune import FineTuneParameters
from phoundry.training import loss
from phoundry.training.decoder import attention
from phoundry.training.model import TunedModel, read_config
from phoundry.training.planning.estimate import (
    LOGITS_AT_A_TIME,
    LONGEST_KEPT,
    USUAL_SIZES,
    ModelShape,
    estimate_memory,
    heaviest_segment,
)
from tests.training.conftest import CheckpointMaker

SMOLLM2 = ModelShape(30, 576, 1536, 49152, 9, 3, 64, 8192, tied=True)


def parameters_of(**values: Any) -> FineTuneParameters:
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
    base = estimate_memory(SMOLLM2, parameters_of(), row_tokens=1024)
    assert estimate_memory(SMOLLM2, parameters_of(), row_tokens=2048) > base
    assert estimate_memory(SMOLLM2, parameters_of(precision="32"), row_tokens=1024) > base
    assert estimate_memory(SMOLLM2, parameters_of(lora_r=64), row_tokens=1024) > base
    assert estimate_memory(SMOLLM2, parameters_of(apply_lora=False), row_tokens=1024) > base


@given(st.lists(st.integers(1, 900), min_size=1, max_size=30), st.integers(1, 4096))
def test_no_row_keeps_more_attention_than_the_heaviest(lengths: list[int], row: int) -> None:
    """Of a row that is filled with any conversations: Σs² over those that are kept ÷ tokens."""
    heaviest = heaviest_segment(lengths, row)
    assert 0 <= heaviest <= LONGEST_KEPT
    tokens = squares = 0
    for length in lengths:
        if tokens + length > row:
            continue
        tokens += length
        squares += length * length if length <= LONGEST_KEPT else 0
    assert squares <= heaviest * row + 1e-6


def test_the_length_up_to_which_weights_are_kept_is_attentions() -> None:
    assert LONGEST_KEPT == attention.LONGEST_DENSE
    assert LOGITS_AT_A_TIME == loss.CHUNK


def test_recomputing_keeps_one_layer_and_the_inputs_of_all() -> None:
    kept = estimate_memory(SMOLLM2, parameters_of(), row_tokens=2048)
    saved = estimate_memory(SMOLLM2, parameters_of(), row_tokens=2048, recompute=True)
    activations = kept - estimate_memory(SMOLLM2, parameters_of(), row_tokens=0)
    assert kept - saved > 0.8 * activations


@pytest.mark.parametrize(
    ("measured", "row", "sizes", "values"),
    [
        (1_446, 512, USUAL_SIZES, {}),
        (1_866, 1024, USUAL_SIZES, {}),
        (2_351, 2048, USUAL_SIZES, {}),
        (1_870, 815, 19, {}),  # a whole run with shared beginnings
        (1_153, 1024, USUAL_SIZES, {"gradient_checkpointing": "true"}),
        (2_818, 1024, USUAL_SIZES, {"precision": "32"}),
        (3_521, 1024, USUAL_SIZES, {"apply_lora": False}),
        (3_178, 512, USUAL_SIZES, {"apply_lora": False, "precision": "32"}),
        (2_825, 512, USUAL_SIZES, {"apply_lora": False, "optim": "adafactor"}),
    ],
)
def test_the_estimate_is_within_a_fifth_of_what_was_measured(
    measured: int, row: int, sizes: int, values: dict[str, Any]
) -> None:
    """Peaks in MB of SmolLM2-135M on the construction FAQ (docs/design/training.md, "Memory")."""
    recompute = values.get("gradient_checkpointing") == "true"
    parameters = parameters_of(lora_r=16, **values)
    found = estimate_memory(
        SMOLLM2, parameters, row_tokens=row, segment=110, sizes=sizes, recompute=recompute
    )
    assert found / 1e6 == pytest.approx(measured, rel=0.2)
