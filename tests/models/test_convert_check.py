from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from phoundry.models import reference
from phoundry.models.architectures import ARCHITECTURES
from phoundry.models.convert import convert
from phoundry.models.convert_check import LIMITS, ConvertCheck, check_conversion
from phoundry.models.tensors import Weights
from tests.models.conftest import Maker

KINDS = tuple(LIMITS)


def checked(folder: Path, path: Path, quantization: str) -> ConvertCheck:
    convert(folder, path, quantization)
    return check_conversion(folder, path, quantization, say=lambda message: None)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_one_layer_at_a_time_is_the_whole_model(kind: str, tiny: Maker) -> None:
    from transformers import AutoModelForCausalLM

    folder = tiny(kind)
    ids, lengths = [7 + (17 * i) % 300 for i in range(40)], [3, 11, 40]
    found = reference.log_probabilities(folder, Weights(folder).floats, ids, lengths)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, [length - 1 for length in lengths]]
    np.testing.assert_allclose(found, logits.log_softmax(-1).numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("quantization", KINDS)
@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_a_right_file_agrees_in_every_kind(
    kind: str, quantization: str, tiny: Maker, tmp_path: Path
) -> None:
    found = checked(tiny(kind), tmp_path / "m.gguf", quantization)
    # Room for other models: the limits are three times what these need.
    assert found.error < LIMITS[quantization] * found.spread / 2
    assert found.places == 16


@pytest.mark.parametrize("kind", ["mistral", "qwen2", "qwen3", "gemma3_text"])
def test_a_right_file_agrees_for_every_architecture(kind: str, tiny: Maker, tmp_path: Path) -> None:
    found = checked(tiny(kind), tmp_path / "m.gguf", "Q4_0")
    assert found.error < LIMITS["Q4_0"] * found.spread / 2
    # What rounding to four bits does to a model is not taken for a mistake.
    assert found.change > LIMITS["Q4_0"] * found.spread
