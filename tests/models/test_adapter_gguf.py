"""An adapter as GGUF: llama.cpp with base and adapter computes what the merged model computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from phoundry.errors import InvalidInput, ModelError
from phoundry.models.adapter_gguf import adapter_tensors, convert_adapter, task
from phoundry.models.architectures import architecture, permute
from phoundry.models.convert import convert
from phoundry.models.merge import merge
from phoundry.spool import Spool
from tests.models.conftest import Maker
from tests.models.llama import Llama

PROMPT = [5, 6, 7, 8, 9, 10]
# Written as exact: all that differs is how the sum was rounded (merged to bfloat16, B to float16).
ROUNDED = 0.06


@pytest.mark.parametrize("kind", ["llama", "phi3", "qwen3"])
def test_llama_cpp_adds_what_merging_adds(
    kind: str, tiny: Maker, adapter: Maker, tmp_path: Path
) -> None:
    base = tiny(kind)
    tuned = adapter(base, lora_alpha=8)
    merged = tmp_path / "merged"
    merged.mkdir()
    merge(base, tuned, merged)
    convert(base, tmp_path / "base.gguf", "F32")
    convert(merged, tmp_path / "merged.gguf", "F32")
    found = convert_adapter(tuned, base, tmp_path / "adapter.gguf")
    assert found["bytes"] == (tmp_path / "adapter.gguf").stat().st_size
    plain = Llama(tmp_path / "base.gguf").next_logprobs(PROMPT, 400)
    wanted = Llama(tmp_path / "merged.gguf").next_logprobs(PROMPT, 400)
    got = Llama(tmp_path / "base.gguf", adapters=[tmp_path / "adapter.gguf"])
    added = got.next_logprobs(PROMPT, 400)
    assert _distance(added, wanted) < ROUNDED
    assert _distance(plain, wanted) > 10 * ROUNDED


def _distance(one: dict[int, float], other: dict[int, float]) -> float:
    """Root mean square over the tokens that both tell."""
    both = one.keys() & other.keys()
    assert len(both) > 300
    return float(np.sqrt(np.mean([(one[token] - other[token]) ** 2 for token in both])))


@pytest.mark.parametrize(
    "settings",
    [{}, {"use_rslora": True}, {"alpha_pattern": {"q_proj": 32}, "rank_pattern": {"q_proj": 2}}],
)
def test_the_product_of_the_tensors_is_the_whole_change(
    settings: dict[str, Any], tiny: Maker, adapter: Maker
) -> None:
    """llama.cpp multiplies by no scale of its own, so B · A must be all that merging adds."""
    from phoundry.models.adapter import read_adapter

    base = tiny("llama")
    tuned = adapter(base, **settings)
    found = adapter_tensors(tuned, base)
    kind = architecture("llama")
    config = json.loads((base / "config.json").read_text())
    for name, delta in read_adapter(tuned).items():
        target = kind.gguf_name(name)
        down, up = found[f"{target}.lora_a"], found[f"{target}.lora_b"]
        product = up.astype(np.float32) @ down.astype(np.float32)
        wanted = delta.scale * (delta.up @ delta.down)
        if heads := kind.rotated_heads(name, config):
            wanted = permute(wanted, heads)
        np.testing.assert_allclose(product, wanted, atol=2e-3 * np.abs(wanted).max())


def test_values_beyond_float16_stay_float32(tiny: Maker, adapter: Maker, tmp_path: Path) -> None:
    base = tiny("llama")
    big = _changed(adapter(base), tmp_path / "big", 1e6)
    kinds = {values.dtype for values in adapter_tensors(big, base).values()}
    assert kinds == {np.dtype(np.float32)}


def test_an_adapter_of_another_base_is_refused(tiny: Maker, adapter: Maker, tmp_path: Path) -> None:
    other = tiny("llama", hidden_size=128)
    with pytest.raises(InvalidInput, match="does not belong to"):
        convert_adapter(adapter(tiny("llama")), other, tmp_path / "adapter.gguf")
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_diverged_is_refused(tiny: Maker, adapter: Maker, tmp_path: Path) -> None:
    spoilt = _changed(adapter(tiny("llama")), tmp_path / "spoilt", float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        convert_adapter(spoilt, tiny("llama"), tmp_path / "adapter.gguf")


def test_the_worker_tells_what_it_made(tiny: Maker, adapter: Maker, tmp_path: Path) -> None:
    base = tiny("llama")
    spec = {
        "adapter_dir": str(adapter(base)),
        "base_checkpoint_dir": str(base),
        "gguf_path": str(tmp_path / "made" / "adapter.gguf"),
    }
    spool = Spool(tmp_path / "events.jsonl")
    found = task(spec, tmp_path, spool)
    assert Path(found["gguf_path"]).read_bytes()[:4] == b"GGUF"


def _changed(adapter: Path, folder: Path, factor: float) -> Path:
    """A copy of an adapter with all B multiplied."""
    folder.mkdir()
    (folder / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
    weights = load_file(adapter / "adapter_model.safetensors")
    for name in weights:
        if "lora_B" in name:
            weights[name] = weights[name] * np.float32(factor)
    save_file(weights, folder / "adapter_model.safetensors")
    return folder
