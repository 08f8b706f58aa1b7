from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFWriter

from phoundry.errors import ModelError
from phoundry.models import gguf_metadata, gguf_tensors, reference
from phoundry.models.architectures import ARCHITECTURES, Architecture
from phoundry.models.convert import convert
from phoundry.models.convert_check import LIMITS, ConvertCheck, check_conversion
from phoundry.models.tensors import Weights
from tests.models.conftest import Maker
from tests.models.test_convert import LLAMA3

KINDS = tuple(LIMITS)


def checked(folder: Path, path: Path, quantization: str) -> ConvertCheck:
    convert(folder, path, quantization)
    return check_conversion(folder, path, quantization, say=lambda message: None)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_one_layer_at_a_time_is_the_whole_model(kind: str, tiny: Maker) -> None:
    from transformers import AutoModelForCausalLM

    folder = tiny(kind)
    ids, lengths = [7 + (17 * i) % 300 for i in range(40)], [3, 11, 40]
    found = reference.run(reference.skeleton(folder), Weights(folder).floats, ids, lengths)
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


# --- mistakes: each is made while the file is written, and must be found in every kind


def _written_as(name: str, change: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    def spoil(patch: pytest.MonkeyPatch) -> None:
        right = getattr(GGUFWriter, name)
        patch.setattr(GGUFWriter, name, lambda writer, value: right(writer, change(value)))

    return spoil


def _not_permuted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gguf_tensors, "permute", lambda weight, heads: weight)


def _never_permuted(patch: pytest.MonkeyPatch) -> None:
    """Neither written nor read with the rows in llama.cpp's order: only llama.cpp knows."""
    patch.setattr(Architecture, "rotated_heads", lambda kind, name, config: None)


def _swapped(patch: pytest.MonkeyPatch) -> None:
    _renamed(patch, write_only=True)


def _swapped_both_ways(patch: pytest.MonkeyPatch) -> None:
    _renamed(patch, write_only=False)


def _renamed(patch: pytest.MonkeyPatch, *, write_only: bool) -> None:
    """Layer 0's MLP takes the matrix of layer 1's, and the other way round."""
    right = Architecture.gguf_name
    places = {"blk.0.ffn_down.weight": "blk.1.ffn_down.weight"}
    places |= {there: here for here, there in places.items()}

    def wrong(kind: Architecture, name: str) -> str | None:
        found = right(kind, name)
        return places.get(str(found), found)

    patch.setattr(Architecture, "gguf_name", wrong)
    if write_only:
        undone.append(lambda: patch.setattr(Architecture, "gguf_name", right))


undone: list[Callable[[], None]] = []


def _no_factors(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gguf_tensors, "rope_tensors", lambda config: {})


def _other_factors(patch: pytest.MonkeyPatch) -> None:
    right = gguf_metadata.llama3_factors
    patch.setattr(gguf_metadata, "llama3_factors", lambda rope, size: right(rope, size) * 1.01)


MISTAKES: dict[str, tuple[str, dict[str, Any], Callable[[pytest.MonkeyPatch], None], str]] = {
    "permutation lost": ("llama", {}, _not_permuted, "times as far off"),
    "permutation unknown": ("llama", {}, _never_permuted, "does not compute"),
    "tensors swapped": ("phi3", {}, _swapped, "times as far off"),
    "tensors misnamed": ("phi3", {}, _swapped_both_ways, "does not compute"),
    "epsilon": (
        "phi3",
        {},
        _written_as("add_layer_norm_rms_eps", lambda value: value * 10),
        "layer_norm_rms_epsilon",
    ),
    "rotary base": (
        "phi3",
        {},
        _written_as("add_rope_freq_base", lambda value: value * 1.05),
        "rotary frequencies",
    ),
    "half of the rotation": (
        "phi3",
        {},
        _written_as("add_rope_dimension_count", lambda value: value // 2),
        "rotary frequencies",
    ),
    "no rotary factors": ("llama", LLAMA3, _no_factors, "rotary frequencies"),
    "other rotary factors": ("llama", LLAMA3, _other_factors, "rotary frequencies"),
}


@pytest.mark.parametrize("quantization", ["F32", "BF16", "Q8_0", "Q4_0"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_file_is_refused_in_every_kind(
    mistake: str, quantization: str, tiny: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, changes, spoil, message = MISTAKES[mistake]
    folder = tiny(kind, **changes)
    undone.clear()
    spoil(monkeypatch)
    convert(folder, tmp_path / "m.gguf", quantization)
    for undo in undone:
        undo()
    with pytest.raises(ModelError, match=message):
        check_conversion(folder, tmp_path / "m.gguf", quantization, say=lambda message: None)
