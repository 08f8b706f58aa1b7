from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from phoundry.errors import InvalidInput, ModelError
from phoundry.files import read_json, write_json
from phoundry.models.adapter import CONFIG, WEIGHTS, read_adapter
from phoundry.models.merge import merge
from phoundry.models.merge_check import check_merge
from phoundry.models.tensors import SINGLE, sha256_weights
from tests.models.conftest import Maker
from tests.support.checkpoints import write_adapter

IDS = torch.tensor([[5, 77, 130, 41, 200, 9, 310, 66]])
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rank-stabilised": {"use_rslora": True},
    "patterns": {
        "rank_pattern": {"o_proj": 2},
        "alpha_pattern": {"layers.1.self_attn.o_proj": 32, "down_proj": 3},
    },
}


def peft_merged(base: Path, adapter: Path) -> Any:
    """The reference: PEFT's merge in float32."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(model, adapter)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_merging_is_pefts(
    kind: str, variant: str, tiny: Maker, adapter: Maker, tmp_path: Path
) -> None:
    base = tiny(kind)
    lora = adapter(base, **VARIANTS[variant])
    digest = merge(base, lora, tmp_path)
    expected = peft_merged(base, lora).merge_and_unload().state_dict()
    found = load_file(tmp_path / SINGLE)
    before = load_file(base / SINGLE)
    assert found.keys() == before.keys()
    assert digest == sha256_weights(tmp_path)
    changed = 0
    for name, tensor in found.items():
        assert tensor.dtype == torch.bfloat16
        # Half a unit in the last of bfloat16's eight binary digits.
        torch.testing.assert_close(tensor.float(), expected[name], rtol=2**-8, atol=1e-6)
        changed += not torch.equal(tensor, before[name])
    assert changed == len(read_adapter(lora))


@pytest.mark.parametrize("kind", ["llama", "phi3", "mistral", "gemma3_text"])
def test_logits_are_those_of_the_adapted_model(
    kind: str, tiny: Maker, adapter: Maker, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    base = tiny(kind)
    lora = adapter(base)
    merge(base, lora, tmp_path)
    with torch.no_grad():
        adapted = peft_merged(base, lora)(IDS).logits
        merged = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)(IDS).logits
        plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)(IDS).logits
    error = (adapted - merged).square().mean().sqrt()
    assert error < 0.05 * (adapted - plain).square().mean().sqrt()
    found = check_merge(base, lora, tmp_path)
    assert found.error < 0.05 * found.changed


def test_a_wrong_merge_is_refused(tiny: Maker, adapter: Maker, copy: Any, tmp_path: Path) -> None:
    base = tiny("phi3")
    lora = copy(adapter(base))
    merge(base, lora, tmp_path)
    config = read_json(lora / CONFIG)
    write_json(lora / CONFIG, {**config, "lora_alpha": 2 * config["lora_alpha"]})
    with pytest.raises(ModelError, match="does not compute what was trained"):
        check_merge(base, lora, tmp_path)


def test_an_adapter_that_learnt_nothing_passes(tiny: Maker, tmp_path: Path) -> None:
    base = tiny("llama")
    lora = write_adapter(base, tmp_path / "adapter", size=0.0)
    (tmp_path / "merged").mkdir()
    merge(base, lora, tmp_path / "merged")
    assert check_merge(base, lora, tmp_path / "merged").error == pytest.approx(0, abs=1e-4)


def test_tokenizer_and_configs_come_along(tiny: Maker, adapter: Maker, tmp_path: Path) -> None:
    base = tiny("llama")
    merge(base, adapter(base), tmp_path)
    names = {path.name for path in base.iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_another_base_is_refused(tiny: Maker, adapter: Maker, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not belong"):
        merge(tiny("phi3"), adapter(tiny("llama")), tmp_path)
    wider = tiny("llama", intermediate_size=128)
    with pytest.raises(InvalidInput, match=r"shape \(64, 96\)"):
        merge(wider, adapter(tiny("llama")), tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("use_dora", True), ("peft_type", "LOHA"), ("bias", "all"), ("modules_to_save", ["lm_head"])],
)
def test_what_is_not_plain_lora_is_refused(
    key: str, value: object, tiny: Maker, adapter: Maker, copy: Any, tmp_path: Path
) -> None:
    lora = copy(adapter(tiny("llama")))
    write_json(lora / CONFIG, {**read_json(lora / CONFIG), key: value})
    with pytest.raises(InvalidInput, match=key):
        merge(tiny("llama"), lora, tmp_path)


def test_half_an_adapter_is_refused(tiny: Maker, adapter: Maker, copy: Any) -> None:
    lora = copy(adapter(tiny("llama")))
    weights = load_file(lora / WEIGHTS)
    del weights[next(name for name in weights if "lora_B" in name)]
    save_file(weights, lora / WEIGHTS)
    with pytest.raises(InvalidInput, match="no part of a LoRA"):
        read_adapter(lora)


def test_a_diverged_adapter_is_refused(
    tiny: Maker, adapter: Maker, copy: Any, tmp_path: Path
) -> None:
    lora = copy(adapter(tiny("llama")))
    weights = load_file(lora / WEIGHTS)
    weights[next(iter(weights))][0, 0] = math.nan
    save_file(weights, lora / WEIGHTS)
    with pytest.raises(ModelError, match="diverged"):
        merge(tiny("llama"), lora, tmp_path)


# --- mistakes in a merged checkpoint: each must be refused


def _spoiled(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(folder / SINGLE)
    change(weights)
    save_file(weights, folder / SINGLE, {"format": "pt"})


def _one_forgotten(
    weights: dict[str, torch.Tensor], before: dict[str, torch.Tensor], lora: Path
) -> None:
    name = "model.layers.1.self_attn.o_proj.weight"
    weights[name] = before[name]


def _transposed(
    weights: dict[str, torch.Tensor], before: dict[str, torch.Tensor], lora: Path
) -> None:
    name = "model.layers.0.self_attn.o_proj.weight"
    change = weights[name].float() - before[name].float()
    weights[name] = (before[name].float() + change.T.contiguous()).to(torch.bfloat16)


def _half_of_it(
    weights: dict[str, torch.Tensor], before: dict[str, torch.Tensor], lora: Path
) -> None:
    for name, tensor in weights.items():
        weights[name] = ((tensor.float() + before[name].float()) / 2).to(torch.bfloat16)


def _touched(weights: dict[str, torch.Tensor], before: dict[str, torch.Tensor], lora: Path) -> None:
    weights["model.norm.weight"][0] *= 1.01


def _layers_swapped(
    weights: dict[str, torch.Tensor], before: dict[str, torch.Tensor], lora: Path
) -> None:
    here, there = (f"model.layers.{n}.mlp.down_proj.weight" for n in (0, 1))
    weights[here], weights[there] = weights[there].clone(), weights[here].clone()


@pytest.mark.parametrize("kind", ["llama", "phi3"])
@pytest.mark.parametrize(
    "spoil", [_one_forgotten, _transposed, _half_of_it, _touched, _layers_swapped]
)
def test_a_mistake_in_merging_is_refused(
    spoil: Callable[..., None], kind: str, tiny: Maker, adapter: Maker, tmp_path: Path
) -> None:
    base = tiny(kind)
    lora = adapter(base)
    merge(base, lora, tmp_path)
    check_merge(base, lora, tmp_path)
    before = load_file(base / SINGLE)
    _spoiled(tmp_path, lambda weights: spoil(weights, before, lora))
    with pytest.raises(ModelError, match=r"does not compute what was trained|is not what was to"):
        check_merge(base, lora, tmp_path)


@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_another_base_of_the_same_shape_is_refused(
    kind: str, tiny: Maker, adapter: Maker, tmp_path: Path
) -> None:
    lora = adapter(tiny(kind))
    merge(tiny(kind, seed=1), lora, tmp_path)
    with pytest.raises(ModelError, match="does not compute what was trained"):
        check_merge(tiny(kind), lora, tmp_path)


@pytest.mark.parametrize("kind", ["llama", "phi3", "mistral", "qwen2", "qwen3", "gemma3_text"])
def test_in_float32_merged_is_unmerged(kind: str, tiny: Maker, copy: Any, tmp_path: Path) -> None:
    """Nothing is rounded: logits differ by what float32 loses, a hundred-thousandth of them."""
    from transformers import AutoModelForCausalLM

    base = copy(tiny(kind))
    weights = {name: tensor.float() for name, tensor in load_file(base / SINGLE).items()}
    save_file(weights, base / SINGLE, {"format": "pt"})
    lora = write_adapter(base, tmp_path / "adapter")
    (tmp_path / "merged").mkdir()
    merge(base, lora, tmp_path / "merged")
    check_merge(base, lora, tmp_path / "merged")
    with torch.no_grad():
        adapted = peft_merged(base, lora)(IDS).logits
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)(
            IDS
        ).logits
    torch.testing.assert_close(merged, adapted, rtol=1e-4, atol=1e-5 * float(adapted.abs().max()))
