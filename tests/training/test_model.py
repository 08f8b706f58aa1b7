"""The decoder's loss, gradients and answers against transformers and PEFT, one at a time."""

from __future__ import annotations

import json
import random
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
from phoundry.training.decoder.architecture import Architecture, read_config
from phoundry.training.examples import Sample
from phoundry.training.model import TunedModel
from tests.support.checkpoints import LONG, build
from tests.training.conftest import CheckpointMaker, checkpoints_in

KINDS = ["llama", "phi3", "mistral", "qwen2", "qwen3", "gemma3_text"]
CASES = [*((kind, False) for kind in KINDS[:5]), ("llama", True), ("gemma3_text", True)]
LORA = {"apply_lora": True, "lora_r": 4, "lora_alpha": 8}


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


def _gradients(weights: dict[str, Any], loss: Tensor) -> dict[str, Tensor]:
    for weight in weights.values():
        weight.grad = None
    torch.autograd.backward(loss)
    return {name: w.grad.clone() for name, w in weights.items() if w.grad is not None}


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


def _plain(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """transformers' own model, attending as transformers does by default."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).train()


def _tuned(folder: Path, **changes: Any) -> TunedModel:
    return TunedModel(folder, FineTuneParameters.model_validate(changes))


def _randomise_adapters(tuned: TunedModel) -> None:
    """B starts at 0, which would hide every fault in A's gradient."""
    torch.manual_seed(11)
    for name, weight in tuned.trainable().items():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)


def _with_peft(folder: Path, tuned: TunedModel) -> tuple[Any, dict[str, Any]]:
    """PEFT on transformers' model with the very adapter of `tuned`, and its weights by our name."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(_plain(folder), config).train()
    own = {
        name.removeprefix("base_model.model.").replace(".default", ""): weight
        for name, weight in adapted.named_parameters()
        if "lora_" in name
    }
    assert own.keys() == tuned.trainable().keys()
    with torch.no_grad():
        for name, weight in tuned.trainable().items():
            own[name].copy_(weight)
    return adapted, own


@pytest.fixture
def alike() -> list[Sample]:
    """Two system prompts, longer than the windows of the tests' models, and conversations with
    neither; in no order."""
    chooser = random.Random(5)

    def some(count: int) -> list[int]:
        return [chooser.randrange(300) for _ in range(count)]

    made: list[Sample] = []
    prompts: tuple[list[int], ...] = (some(12), some(9), [])
    for prompt, rest in ((0, 20), (2, 11), (1, 7), (0, 3), (0, 8), (1, 14), (2, 2)):
        first = len(prompts[prompt]) + 1
        supervised = [False] * first + [chooser.random() < 0.5 for _ in range(rest - 2)] + [True]
        made.append(Sample([*prompts[prompt], *some(rest)], supervised))
    groups = make_row(made).groups
    assert sorted((group.prefix, group.suffixes) for group in groups) == [
        (0, (11, 2)),
        (9, (7, 14)),
        (12, (20, 3, 8)),
    ]
    return made


@pytest.fixture(params=["apart", "shared"])
def chosen(
    request: pytest.FixtureRequest, samples: list[Sample], alike: list[Sample]
) -> list[Sample]:
    """Conversations that have nothing in common; and those that share beginnings."""
    return samples if request.param == "apart" else alike


@pytest.mark.parametrize(("kind", "tied"), CASES)
def test_full_loss_and_gradients_equal_transformers(
    kind: str, tied: bool, checkpoint_maker: CheckpointMaker, chosen: list[Sample]
) -> None:
    folder = checkpoint_maker(kind, tied=tied)
    reference, tuned = _plain(folder), _tuned(folder)
    expected = _reference_loss(reference, chosen)
    ours = tuned.loss_sum(make_row(chosen))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    theirs = _gradients(dict(reference.named_parameters()), expected)
    _assert_same(_gradients(tuned.trainable(), ours), theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_lora_loss_and_gradients_equal_plain_peft(
    kind: str, checkpoint_maker: CheckpointMaker, chosen: list[Sample]
) -> None:
    folder = checkpoint_maker(kind)
    tuned = _tuned(folder, **LORA)
    _randomise_adapters(tuned)
    reference, weights = _with_peft(folder, tuned)
    expected = _reference_loss(reference, chosen)
    ours = tuned.loss_sum(make_row(chosen))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    _assert_same(_gradients(tuned.trainable(), ours), _gradients(weights, expected))


@pytest.mark.parametrize("kind", KINDS)
def test_packed_equals_one_at_a_time(
    kind: str, checkpoint_maker: CheckpointMaker, chosen: list[Sample]
) -> None:
    tuned = _tuned(checkpoint_maker(kind), **LORA)
    _randomise_adapters(tuned)
    packed = tuned.loss_sum(make_row(chosen))
    single = torch.stack([tuned.loss_sum(make_row([sample])) for sample in chosen]).sum()
    torch.testing.assert_close(packed, single, rtol=1e-5, atol=1e-5)
    ours, theirs = _gradients(tuned.trainable(), packed), _gradients(tuned.trainable(), single)
    _assert_same(ours, theirs)


def _found(tuned: TunedModel, samples: list[Sample], *, share: bool) -> dict[str, Tensor]:
    """Loss and gradients by name."""
    loss = tuned.loss_sum(make_row(samples, share=share))
    return {"loss": loss.detach(), **_gradients(tuned.trainable(), loss)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{}, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("recompute", [False, True])
def test_a_shared_beginning_changes_neither_loss_nor_gradients(
    kind: str,
    changes: dict[str, Any],
    recompute: bool,
    checkpoint_maker: CheckpointMaker,
    alike: list[Sample],
) -> None:
    parameters = FineTuneParameters.model_validate(changes)
    tuned = TunedModel(checkpoint_maker(kind), parameters, recompute=recompute)
    _randomise_adapters(tuned)
    _assert_same(_found(tuned, alike, share=True), _found(tuned, alike, share=False))


@pytest.mark.parametrize("kind", KINDS)
def test_a_shared_beginning_changes_no_measure(
    kind: str, checkpoint_maker: CheckpointMaker, alike: list[Sample]
) -> None:
    tuned = _tuned(checkpoint_maker(kind))
    shared, apart = (tuned.measure(make_row(alike, share=share)) for share in (True, False))
    assert shared.loss_sum == pytest.approx(apart.loss_sum, rel=1e-5)
    assert (shared.correct, shared.targets) == (apart.correct, apart.targets)


ROPES: list[dict[str, Any]] = [
    {"rope_type": "linear", "factor": 4.0},
    {"rope_type": "dynamic", "factor": 2.0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8},
    {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
]


@pytest.mark.parametrize("rope", ROPES, ids=lambda rope: rope["rope_type"])
def test_every_way_to_a_longer_context_is_transformers(
    rope: dict[str, Any], samples: list[Sample], tmp_path: Path
) -> None:
    """The longest conversation is longer than what the model was made for."""
    changes: dict[str, Any] = {
        "rope_parameters": {"rope_theta": 100.0, **rope},
        "max_position_embeddings": 16,
    }
    folder = build("llama", tmp_path, 0, **changes)
    expected = _reference_loss(_plain(folder), samples)
    ours = _tuned(folder).loss_sum(make_row(samples))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rope", ROPES, ids=lambda rope: rope["rope_type"])
def test_a_beginning_may_be_shared_where_all_lengths_are_turned_alike(
    rope: dict[str, Any], alike: list[Sample], tmp_path: Path
) -> None:
    changes: dict[str, Any] = {
        "rope_parameters": {"rope_theta": 100.0, **rope},
        "max_position_embeddings": 24,
    }
    tuned = _tuned(build("llama", tmp_path, 0, **changes))
    architecture = tuned.decoder.a
    assert architecture.turns_alike(24)
    longest = max(len(sample.token_ids) for sample in alike)
    assert longest > 24
    # Dynamic angles are a conversation's own as soon as one is longer than the context.
    assert architecture.turns_alike(longest) == (rope["rope_type"] != "dynamic")
    shareable = alike
    if not architecture.turns_alike(longest):
        shareable = [sample for sample in alike if len(sample.token_ids) <= 24]
    assert any(group.prefix for group in make_row(shareable).groups)
    _assert_same(_found(tuned, shareable, share=True), _found(tuned, shareable, share=False))


def test_phi3s_two_sets_of_angles_are_alike_up_to_where_the_second_begins(tmp_path: Path) -> None:
    rope = {**LONG["rope_parameters"], "original_max_position_embeddings": 16}
    changes = {**LONG, "rope_parameters": rope, "original_max_position_embeddings": 16}
    architecture = _tuned(build("phi3", tmp_path, 0, **changes)).decoder.a
    assert architecture.turns_alike(16)
    assert not architecture.turns_alike(17)


@pytest.mark.parametrize("partial", [1.0, 0.5])
def test_phi3_turns_long_and_short_conversations_of_a_row_as_if_alone(
    partial: float, samples: list[Sample], tmp_path: Path
) -> None:
    half = int(8 * partial)
    rope = {
        **LONG["rope_parameters"],
        "partial_rotary_factor": partial,
        "short_factor": LONG["rope_parameters"]["short_factor"][:half],
        "long_factor": LONG["rope_parameters"]["long_factor"][:half],
        "original_max_position_embeddings": 16,
    }
    changes: dict[str, Any] = {
        **LONG,
        "rope_parameters": rope,
        "original_max_position_embeddings": 16,
    }
    folder = build("phi3", tmp_path, 0, **changes)
    tuned = _tuned(folder)
    # A model of its own for each: transformers keeps what the one before has left.
    for sample in samples:
        expected = _reference_loss(_plain(folder), [sample])
        alone = tuned.loss_sum(make_row([sample]))
        torch.testing.assert_close(alone, expected, rtol=1e-5, atol=1e-5)
    each = sum(float(_reference_loss(_plain(folder), [sample]).detach()) for sample in samples)
    assert float(tuned.loss_sum(make_row(samples)).detach()) == pytest.approx(each, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{}, {**LORA, "lora_dropout": 0.3}], ids=["full", "lora"])
def test_recomputed_layers_give_the_same_gradients(
    kind: str, changes: dict[str, Any], checkpoint_maker: CheckpointMaker, chosen: list[Sample]
) -> None:
    parameters = FineTuneParameters.model_validate(changes)
    found: list[dict[str, Tensor]] = []
    for recompute in (False, True):
        torch.manual_seed(0)
        tuned = TunedModel(checkpoint_maker(kind), parameters, recompute=recompute)
        _randomise_adapters(tuned)
        loss = tuned.loss_sum(make_row(chosen))
        found.append({"loss": loss.detach(), **_gradients(tuned.trainable(), loss)})
    kept, again = found
    assert kept.keys() == again.keys()
    apart = {
        name: float((kept[name] - again[name]).abs().max())
        for name in kept
        if not torch.equal(kept[name], again[name])
    }
    assert apart == {}, "of these, by so much at most"


def test_a_checkpoint_made_on_the_way_leaves_random_numbers_alone(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Else a process's first test to ask for one would draw other adapters than those after it."""
    make = checkpoints_in(tmp_path_factory)
    found: list[Tensor] = []
    for _ in ("made", "there already"):
        torch.manual_seed(5)
        make("llama")
        found.append(torch.randn(3))
    assert torch.equal(*found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_answers_are_those_of_transformers(
    kind: str, checkpoint_maker: CheckpointMaker, samples: list[Sample]
) -> None:
    folder = checkpoint_maker(kind)
    reference, tuned = _plain(folder).eval(), _tuned(folder)
    prompts = [sample.token_ids for sample in samples]
    expected: list[list[int]] = [
        reference.generate(
            torch.tensor([ids]), max_new_tokens=12, do_sample=False, eos_token_id=-1
        )[0, len(ids) :].tolist()
        for ids in prompts
    ]
    assert len({len(ids) for ids in prompts}) > 1
    together = tuned.generate(prompts, max_new_tokens=[12] * len(prompts), stop=())
    assert together == expected
    limits = [1 + number for number, _ in enumerate(prompts)]
    stop = expected[-1][5]
    shorter = tuned.generate(prompts, max_new_tokens=limits, stop={stop})
    for found, whole, most in zip(shorter, expected, limits, strict=True):
        end = whole.index(stop) if stop in whole else len(whole)
        assert found == whole[: min(end, most)]


def test_a_measure_is_the_loss_and_the_likeliest_tokens(
    checkpoint_maker: CheckpointMaker, chosen: list[Sample]
) -> None:
    folder = checkpoint_maker("llama")
    reference, tuned = _plain(folder), _tuned(folder, **LORA, lora_dropout=0.5)
    found = tuned.measure(make_row(chosen))
    expected = float(_reference_loss(reference, chosen).detach())
    assert found.loss_sum == pytest.approx(expected, rel=1e-5)
    assert found.targets == sum(sample.targets for sample in chosen)
    correct = 0
    for sample in chosen:
        likeliest = reference(torch.tensor([sample.token_ids])).logits[0].argmax(-1).tolist()
        correct += sum(
            sample.supervised[i] and likeliest[i - 1] == sample.token_ids[i]
            for i in range(1, len(sample.token_ids))
        )
    assert found.correct == correct


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


def test_dropout_is_on_in_training_alone(
    checkpoint_maker: CheckpointMaker, samples: list[Sample]
) -> None:
    tuned = _tuned(checkpoint_maker("llama"), **LORA, lora_dropout=0.5)
    _randomise_adapters(tuned)
    row = make_row(samples)
    first, second = (float(tuned.loss_sum(row).detach()) for _ in range(2))
    assert first != second
    tuned.train(False)
    assert torch.equal(tuned.loss_sum(row), tuned.loss_sum(row))


def test_dropout_leaves_the_gradient_unbiased(
    checkpoint_maker: CheckpointMaker, samples: list[Sample]
) -> None:
    """With a dropout of next to nothing it is that without."""
    folder = checkpoint_maker("phi3")
    found: list[dict[str, Tensor]] = []
    for drop in (0.0, 1e-7):
        torch.manual_seed(0)
        tuned = _tuned(folder, **LORA, lora_dropout=drop)
        _randomise_adapters(tuned)
        found.append(_gradients(tuned.trainable(), tuned.loss_sum(make_row(samples))))
    _assert_same(*found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["32", "16"])
def test_the_adapter_loads_in_plain_peft(
    kind: str,
    precision: str,
    checkpoint_maker: CheckpointMaker,
    samples: list[Sample],
    tmp_path: Path,
) -> None:
    folder = checkpoint_maker(kind)
    tuned = _tuned(folder, **LORA, precision=precision)
    _randomise_adapters(tuned)
    saved = tuned.save(tmp_path / "output")
    assert saved == tmp_path / "output" / "adapter"
    assert not list(saved.rglob("*.bin"))
    dtype = torch.bfloat16 if precision == "16" else torch.float32
    base = _plain(folder, dtype)
    plain = PeftModel.from_pretrained(base, str(saved), autocast_adapter_dtype=False).train()
    # Bit by bit what was trained, and not nothing: a loss alone is near for many reasons.
    loaded = {
        name.removeprefix("base_model.model.").replace(".default", ""): weight
        for name, weight in plain.named_parameters()
        if "lora_" in name
    }
    own = tuned.trainable()
    assert own.keys() == loaded.keys()
    assert all(torch.equal(own[name], loaded[name]) for name in own)
    assert all(weight.abs().max() > 0 for weight in loaded.values())
    expected = _reference_loss(plain, samples)
    tolerance = 1e-5 if precision == "32" else 3e-2
    ours = tuned.loss_sum(make_row(samples))
    torch.testing.assert_close(ours, expected.float(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_model_is_saved_whole(
    kind: str, checkpoint_maker: CheckpointMaker, tmp_path: Path
) -> None:
    folder = checkpoint_maker(kind, tied=kind in ("llama", "gemma3_text"))
    tuned = _tuned(folder)
    with torch.no_grad():  # what is saved is what was trained, not what was read
        for weight in tuned.trainable().values():
            weight.mul_(1.5)
    saved = tuned.save(tmp_path / "output")
    original, again = _plain(folder).state_dict(), _plain(saved).state_dict()
    for name, weight in again.items():
        assert torch.equal(weight, 1.5 * original[name]), name
    for file in ("tokenizer.json", "chat_template.jinja", "tokenizer_config.json"):
        assert (saved / file).read_bytes() == (folder / file).read_bytes()


def test_weights_that_are_not_those_of_the_config_are_named(
    checkpoint_maker: CheckpointMaker, tmp_path: Path
) -> None:
    folder = checkpoint_maker("llama")
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(InvalidInput, match=r"model\.layers\.2\..* is missing; .* 6 more"):
        _tuned(tmp_path)


def test_a_configs_defaults_are_those_of_transformers() -> None:
    from transformers import AutoConfig

    for kind in KINDS:
        theirs: Any = AutoConfig.for_model(kind)
        written = {"model_type": kind} | {
            key: getattr(theirs, key)
            for key in (
                *("hidden_size", "num_attention_heads", "num_hidden_layers"),
                *("intermediate_size", "vocab_size"),
            )
        }
        ours = _read_back(written)
        assert ours.key_heads == theirs.num_key_value_heads, kind
        assert ours.eps == theirs.rms_norm_eps, kind
        assert ours.context_length == theirs.max_position_embeddings, kind
        assert ours.tied == theirs.tie_word_embeddings, kind
        width = getattr(theirs, "head_dim", None) or theirs.hidden_size // ours.heads
        assert ours.head_width == width, kind
        types = getattr(theirs, "layer_types", None)
        window = getattr(theirs, "sliding_window", None)
        windows = (
            [window if each == "sliding_attention" else None for each in types]
            if types
            else [window] * ours.layers
        )
        assert list(ours.windows) == windows, kind
        ropes = theirs.rope_parameters
        thetas = [
            (ropes[each] if types and each in ropes else ropes)["rope_theta"]
            for each in types or ["all"] * ours.layers
        ]
        assert [ours.rope[each]["rope_theta"] for each in ours.rotations] == thetas, kind


def _read_back(config: dict[str, Any]) -> Architecture:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        return Architecture.from_config(read_config(Path(folder)))


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
