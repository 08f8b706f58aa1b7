"""The model's loss and gradients against plain transformers with labels, one at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from phoundry.errors import InvalidInput, NotFound
from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.batch import make_row
from phoundry.training.examples import Sample
from phoundry.training.model import TunedModel, read_config
from tests.training.conftest import CheckpointMaker

KINDS = ["llama", "phi3", "mistral", "gemma3_text"]
CASES = [*((kind, False) for kind in KINDS[:3]), ("llama", True), ("gemma3_text", True)]


def _reference_loss(model: Any, samples: list[Sample]) -> Tensor:
    """Sum over conversations of transformers' own loss times its number of labels."""
    total = torch.zeros(())
    for sample in samples:
        labels = [
            token if supervised else -100
            for token, supervised in zip(sample.token_ids, sample.supervised, strict=True)
        ]
        output = model(input_ids=torch.tensor([sample.token_ids]), labels=torch.tensor([labels]))
        total = total + output.loss * sample.targets
    return total


def _gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    torch.autograd.backward(loss)
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def _assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(
            ours[name],
            gradient,
            rtol=1e-5,
            atol=1e-5 * max(1.0, scale),
            msg=lambda m, n=name: n + m,
        )


@pytest.mark.parametrize(("kind", "tied"), CASES)
def test_full_loss_and_gradients_equal_transformers(
    kind: str, tied: bool, checkpoint_maker: CheckpointMaker, samples: list[Sample]
) -> None:
    folder = checkpoint_maker(kind, tied=tied)
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    expected = _reference_loss(reference, samples)
    tuned = TunedModel(folder, FineTuneParameters())
    ours = tuned.loss_sum(make_row(samples))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    _assert_same(_gradients(tuned.causal, ours), _gradients(reference, expected))


def _randomise_adapters(model: Any) -> None:
    """B starts at 0, which would hide every fault in A's gradient."""
    torch.manual_seed(11)
    for name, weight in sorted(model.named_parameters()):
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_lora_loss_and_gradients_equal_plain_peft(
    kind: str, checkpoint_maker: CheckpointMaker, samples: list[Sample]
) -> None:
    folder = checkpoint_maker(kind)
    torch.manual_seed(5)
    base: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    reference = get_peft_model(base, config).train()
    parameters = FineTuneParameters(apply_lora=True, lora_r=4, lora_alpha=8)
    tuned = TunedModel(folder, parameters)
    for model in (base, tuned.causal):
        _randomise_adapters(model)
    own = tuned.causal.state_dict()
    base.load_state_dict({name: own[name] for name in base.state_dict()})
    expected = _reference_loss(reference, samples)
    ours = tuned.loss_sum(make_row(samples))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    _assert_same(_gradients(tuned.causal, ours), _gradients(base, expected))


@pytest.mark.parametrize("kind", KINDS)
def test_packed_equals_one_at_a_time(
    kind: str, checkpoint_maker: CheckpointMaker, samples: list[Sample]
) -> None:
    tuned = TunedModel(checkpoint_maker(kind), FineTuneParameters(apply_lora=True, lora_r=4))
    _randomise_adapters(tuned.causal)
    packed = tuned.loss_sum(make_row(samples))
    single = torch.stack([tuned.loss_sum(make_row([sample])) for sample in samples]).sum()
    torch.testing.assert_close(packed, single, rtol=1e-5, atol=1e-5)
    ours, theirs = _gradients(tuned.causal, packed), _gradients(tuned.causal, single)
    _assert_same({n: g.clone() for n, g in ours.items()}, theirs)


@pytest.mark.parametrize(
    "change", [{"final_logit_softcapping": 30.0}, {"use_bidirectional_attention": True}]
)
def test_what_the_loss_would_pass_over_is_refused(
    change: dict[str, Any], checkpoint_maker: CheckpointMaker, tmp_path: Path
) -> None:
    config = json.loads((checkpoint_maker("gemma3_text", tied=True) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(InvalidInput, match=next(iter(change))):
        read_config(tmp_path)


def test_dropout_goes_through_pefts_own_layer(
    checkpoint_maker: CheckpointMaker, samples: list[Sample]
) -> None:
    parameters = FineTuneParameters(apply_lora=True, lora_r=4, lora_dropout=0.5)
    tuned = TunedModel(checkpoint_maker("llama"), parameters)
    _randomise_adapters(tuned.causal)
    row = make_row(samples)
    torch.manual_seed(0)
    first, second = (float(tuned.loss_sum(row).detach()) for _ in range(2))
    assert first != second
    tuned.causal.eval()
    assert torch.equal(tuned.loss_sum(row), tuned.loss_sum(row))


@pytest.mark.parametrize("kind", ["llama", "phi3"])
@pytest.mark.parametrize("precision", ["32", "16"])
def test_the_adapter_loads_in_plain_peft(
    kind: str,
    precision: str,
    checkpoint_maker: CheckpointMaker,
    samples: list[Sample],
    tmp_path: Path,
) -> None:
    folder = checkpoint_maker(kind)
    parameters = FineTuneParameters.model_validate(
        {"apply_lora": True, "lora_r": 4, "precision": precision}
    )
    tuned = TunedModel(folder, parameters)
    _randomise_adapters(tuned.causal)
    saved = tuned.save(tmp_path / "output")
    assert saved == tmp_path / "output" / "adapter"
    assert not list(saved.rglob("*.bin"))
    dtype = torch.bfloat16 if precision == "16" else torch.float32
    base: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    plain = PeftModel.from_pretrained(base, str(saved), autocast_adapter_dtype=False).train()
    expected = _reference_loss(plain, samples)
    tolerance = 1e-5 if precision == "32" else 3e-2
    ours = tuned.loss_sum(make_row(samples))
    torch.testing.assert_close(ours, expected.float(), rtol=tolerance, atol=tolerance)
    # Bit by bit what was trained, and not nothing: a loss alone is near for many reasons.
    own, loaded = _adapters(tuned.causal), _adapters(plain)
    assert own.keys() == loaded.keys()
    assert all(torch.equal(own[name], loaded[name]) for name in own)
    assert all(weight.abs().max() > 0 for weight in loaded.values())
    if precision == "32":  # bfloat16's rounding is of the size of what so small adapters change
        untuned = _reference_loss(
            AutoModelForCausalLM.from_pretrained(folder, dtype=dtype), samples
        )
        assert (ours - untuned).abs() > 10 * (ours - expected).abs()


def _adapters(model: Any) -> dict[str, torch.Tensor]:
    """LoRA's weights by the name that PEFT gives them."""
    return {
        name.removeprefix("base_model.model."): weight.detach()
        for name, weight in model.named_parameters()
        if "lora_" in name
    }


def test_a_full_model_is_saved_whole(checkpoint_maker: CheckpointMaker, tmp_path: Path) -> None:
    folder = checkpoint_maker("llama", tied=True)
    tuned = TunedModel(folder, FineTuneParameters())
    saved = tuned.save(tmp_path / "output")
    again = AutoModelForCausalLM.from_pretrained(saved, dtype=torch.float32)
    for name, weight in again.state_dict().items():
        assert torch.equal(weight, tuned.causal.state_dict()[name]), name
    for file in ("tokenizer.json", "chat_template.jinja", "tokenizer_config.json"):
        assert (saved / file).read_bytes() == (folder / file).read_bytes()


def test_code_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "phi3", "auto_map": {}}')
    with pytest.raises(InvalidInput, match="auto_map"):
        read_config(tmp_path)


def test_an_unknown_architecture_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gemma2"}')
    with pytest.raises(InvalidInput, match="'gemma2' cannot be tuned here, only gemma3_text"):
        read_config(tmp_path)


def test_a_folder_without_a_config_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_config(tmp_path)
