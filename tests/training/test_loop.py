"""The loop on tiny models: what is learnt, counted, evaluated and said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from phoundry.errors import Conflict, InsufficientResources
from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.checkpoint import CheckpointFolder
from phoundry.training.loop import train
from phoundry.training.spec import TrainingResult, TrainingSpec
from tests.training.conftest import CheckpointMaker, Recorder

MessagesFile = Callable[..., Path]
LORA: dict[str, Any] = {
    "apply_lora": True,
    "lora_r": 4,
    "lora_alpha": 16,
    "learning_rate": 1e-2,
    "pack_length": 64,
    "num_train_epochs": 2,
    "logging_steps": 1,
}


class Bench:
    """Runs fine-tunes of one checkpoint, each in a folder of its own."""

    def __init__(self, checkpoint: Path, train_path: Path, folder: Path) -> None:
        self.checkpoint, self.train_path, self.folder = checkpoint, train_path, folder
        self.recorder = Recorder()

    def __call__(
        self, name: str, validation: Path | None = None, memory: int | None = None, **values: Any
    ) -> TrainingResult:
        self.recorder = Recorder()
        spec = TrainingSpec(
            checkpoint_dir=self.checkpoint,
            train_path=self.train_path,
            validation_path=validation,
            parameters=FineTuneParameters.model_validate({**LORA, **values}),
            output_dir=self.folder / name / "output",
            memory_limit=memory,
        )
        return train(spec, self.recorder, CheckpointFolder(self.folder / name / "checkpoints"))


@pytest.fixture
def bench(checkpoint_maker: CheckpointMaker, messages_file: MessagesFile, tmp_path: Path) -> Bench:
    return Bench(checkpoint_maker("llama"), messages_file(24), tmp_path)


def _weights(result: TrainingResult) -> dict[str, torch.Tensor]:
    return load_file(next(result.output.glob("*.safetensors")))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"precision": "16"},
        {"packing": False, "per_device_train_batch_size": 4},
        {"optim": "adafactor"},
        {"apply_lora": False, "learning_rate": 3e-3},
        {"apply_lora": False, "learning_rate": 3e-3, "precision": "16"},
    ],
)
def test_the_loss_falls(values: dict[str, Any], bench: Bench) -> None:
    result = bench("run", num_train_epochs=6, lr_scheduler_type="constant", **values)
    losses = [data["loss"] for data in bench.recorder.of("progress")]
    assert losses[-1] < 0.8 * losses[0]
    assert result.train_loss < 0.8 * losses[0]


def test_accumulation_equals_a_large_batch(bench: Bench) -> None:
    """Conversations differ in supervised tokens: a mean of means would not come out the same."""
    large = bench("large", packing=False, per_device_train_batch_size=6, learning_rate=1e-3)
    small = bench(
        "small",
        packing=False,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=6,
        learning_rate=1e-3,
    )
    assert large.steps == small.steps
    assert large.train_loss == pytest.approx(small.train_loss, rel=1e-5)
    theirs = _weights(large)
    for name, weight in _weights(small).items():
        # Adam divides by the root of a square: rounding of tiny gradients is magnified.
        torch.testing.assert_close(weight, theirs[name], rtol=1e-3, atol=1e-4)


def test_two_runs_are_the_same_to_the_bit_and_another_seed_is_not(bench: Bench) -> None:
    first, second = _weights(bench("a")), _weights(bench("b"))
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())
    other = _weights(bench("c", seed=1))
    assert not all(torch.equal(weight, other[name]) for name, weight in first.items())


def test_what_is_said(bench: Bench, messages_file: MessagesFile) -> None:
    validation = messages_file(7, seed=5, name="validation.jsonl")
    result = bench("run", validation)
    recorder = bench.recorder
    (started,) = recorder.of("started")
    assert started["max_steps"] == result.steps == 2 * (result.steps // 2)
    assert started["truncated"] == started["dropped"] == 0
    assert 2 * started["tokens_per_epoch"] == result.tokens
    progress = recorder.of("progress")
    assert [data["step"] for data in progress] == list(range(1, result.steps + 1))
    assert progress[-1]["tokens"] == result.tokens
    assert progress[-1]["epoch"] == 2
    assert progress[-1]["seconds_left"] == 0
    assert all(data["tokens_per_second"] > 0 for data in progress)
    evaluated = recorder.of("evaluated")
    assert [data["epoch"] for data in evaluated] == [0, 1, 2]
    assert result.first_eval_loss == evaluated[0]["eval_loss"]
    assert result.eval_loss == evaluated[-1]["eval_loss"] < evaluated[0]["eval_loss"]
    assert recorder.of("checkpoint")[-1]["step"] == result.steps


def test_validation_loss_is_weighted_by_token_whatever_the_rows(
    bench: Bench, messages_file: MessagesFile
) -> None:
    validation = messages_file(9, seed=5, name="validation.jsonl")
    losses = [
        bench(f"run{size}", validation, max_steps=1, per_device_eval_batch_size=size).eval_loss
        for size in (1, 9)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({"evaluation_strategy": "disable"}, []),
        ({"evaluation_strategy": "steps", "eval_steps": 2}, [0, 2, 4, 5]),
        ({"evaluation_strategy": "epoch"}, [0, 5]),
    ],
)
def test_evaluation_comes_when_asked_for_and_at_the_end(
    values: dict[str, Any], steps: list[int], bench: Bench, messages_file: MessagesFile
) -> None:
    validation = messages_file(3, seed=5, name="validation.jsonl")
    bench("run", validation, max_steps=5, num_train_epochs=1, pack_length=512, **values)
    evaluated = [data["step"] for data in bench.recorder.of("evaluated")]
    if values["evaluation_strategy"] == "epoch":
        evaluated = [evaluated[0], evaluated[-1]]
    assert evaluated == steps


def test_a_pack_grows_to_the_longest_conversation(bench: Bench) -> None:
    result = bench("run", pack_length=1, num_train_epochs=1)
    assert 1 < result.steps <= 24


def test_what_would_not_fit_is_refused_before_anything_is_written(
    bench: Bench, tmp_path: Path
) -> None:
    with pytest.raises(InsufficientResources, match=r"0\.1 GB can be had"):
        bench("run", memory=100_000_000)
    assert not (tmp_path / "run").exists()


def test_other_parameters_do_not_go_on_from_a_checkpoint(bench: Bench) -> None:
    bench("run", max_steps=2)
    with pytest.raises(Conflict, match="other data, parameters or model"):
        bench("run", max_steps=3)
    again = bench("run", max_steps=3, resume_from_checkpoint=False)
    assert again.steps == 3
    assert not bench.recorder.of("notice")
