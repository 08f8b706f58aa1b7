"""The loop on tiny models: what is learnt, counted, evaluated and said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from phoundry.errors import Cancelled, Conflict, InsufficientResources, InvalidInput, ModelError
from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.checkpoints.folder import CheckpointFolder
from phoundry.training.interrupt import StopSwitch
from phoundry.training.loop import train
from phoundry.training.spec import TrainingResult, TrainingSpec
from phoundry.worker import StopReason
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
        self,
        name: str,
        validation: Path | None = None,
        memory: int | None = None,
        stop: StopSwitch | None = None,
        **values: Any,
    ) -> TrainingResult:
        self.recorder = Recorder() if stop is None else self.recorder
        spec = TrainingSpec(
            checkpoint_dir=self.checkpoint,
            train_path=self.train_path,
            validation_path=validation,
            parameters=FineTuneParameters.model_validate({**LORA, **values}),
            output_dir=self.folder / name / "output",
            memory_limit=memory,
        )
        folder = CheckpointFolder(self.folder / name / "checkpoints")
        return train(spec, self.recorder, folder, stop=stop)


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


# A learning rate at which the held-out loss soon rises again.
TOO_MUCH: dict[str, Any] = {
    "learning_rate": 5e-2,
    "lr_scheduler_type": "constant",
    "num_train_epochs": 6,
    "evaluation_strategy": "steps",
    "eval_steps": 2,
    "sample_generations": 0,
}


def test_the_output_is_the_best_state_where_that_is_asked_for(
    bench: Bench, messages_file: MessagesFile
) -> None:
    """A run that is told to end at the best step has the same weights."""
    validation = messages_file(7, seed=5, name="validation.jsonl")
    best = bench("best", validation, load_best_model_at_end=True, **TOO_MUCH)
    losses = {data["step"]: data["eval_loss"] for data in bench.recorder.of("evaluated")}
    del losses[0]
    lowest = min(losses, key=lambda step: losses[step])
    assert best.best_step == best.output_step == lowest < best.steps
    assert best.eval_loss == best.best_metric == losses[lowest]
    marked = [data["step"] for data in bench.recorder.of("evaluated") if data["best"]]
    assert marked[-1] == lowest
    last = bench("last", validation, max_steps=lowest, **TOO_MUCH)
    weights = _weights(last)
    assert all(torch.equal(weight, weights[name]) for name, weight in _weights(best).items())


def test_it_stops_early_with_the_best_state(bench: Bench, messages_file: MessagesFile) -> None:
    validation = messages_file(7, seed=5, name="validation.jsonl")
    patient = bench(
        "early", validation, apply_early_stopping=True, early_stopping_patience=2, **TOO_MUCH
    )
    (stopped,) = bench.recorder.of("stopped_early")
    best = patient.best_step
    assert best is not None
    assert stopped["step"] == patient.steps == best + 4  # two evaluations, two steps apart
    assert stopped["best_step"] == patient.output_step == best
    assert f"at step {best}" in stopped["message"]
    again = bench(
        "early", validation, apply_early_stopping=True, early_stopping_patience=2, **TOO_MUCH
    )
    assert again.steps == patient.steps  # gone on with, it stays stopped
    first, second = _weights(patient), _weights(again)
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())


def test_a_run_that_only_made_it_worse_says_so(bench: Bench, messages_file: MessagesFile) -> None:
    validation = messages_file(7, seed=5, name="validation.jsonl")
    values = {"apply_lora": False, "learning_rate": 9.0, "max_steps": 1}
    result = bench("worse", validation, load_best_model_at_end=True, **TOO_MUCH | values)
    first, best = result.first_eval_loss, result.best_metric
    assert first is not None
    assert best is not None
    assert best > first
    (said,) = bench.recorder.of("notice")
    assert "No evaluation was better than the base model's" in said["message"]


def test_an_output_that_is_worse_than_the_base_model_says_so(
    bench: Bench, messages_file: MessagesFile
) -> None:
    """The last state is the output here, whatever was better before."""
    validation = messages_file(7, seed=5, name="validation.jsonl")
    values = {"apply_lora": False, "learning_rate": 9.0, "max_steps": 2, "eval_steps": 1}
    result = bench("worse", validation, **TOO_MUCH | values)
    assert (result.eval_loss or 0) > (result.first_eval_loss or 0)
    (said,) = (each["message"] for each in bench.recorder.of("notice"))
    assert "the output is worse than the base model" in said
    assert f"{result.eval_loss:.4f}" in said
    assert f"{result.first_eval_loss:.4f}" in said


def test_a_warm_up_that_outlasts_the_run_is_told(bench: Bench) -> None:
    bench("warm", num_train_epochs=1, warmup_steps=1000, max_steps=-1)
    (said,) = (each["message"] for each in bench.recorder.of("notice"))
    assert "warmup_steps=1000 outlasts the run's" in said


def test_the_best_needs_something_to_evaluate(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no validation data"):
        bench("run", apply_early_stopping=True)
    assert not (tmp_path / "run").exists()


class _PressAt(Recorder):
    """Presses a switch when a step has been told, as a signal would."""

    def __init__(self, step: int, switch: StopSwitch) -> None:
        super().__init__()
        self.step, self.switch = step, switch

    def event(self, kind: str, **data: Any) -> None:
        super().event(kind, **data)
        if kind == "progress" and data["step"] == self.step:
            self.switch.press("a test")


def _switch(bench: Bench, step: int, reason: StopReason) -> StopSwitch:
    switch = StopSwitch(lambda: reason)
    bench.recorder = _PressAt(step, switch)
    return switch


@pytest.mark.parametrize(
    "values", [{"lora_dropout": 0.2}, {"apply_lora": False, "optim": "adafactor"}]
)
def test_a_paused_run_goes_on_to_the_same_bits(
    values: dict[str, Any], bench: Bench, messages_file: MessagesFile, tmp_path: Path
) -> None:
    validation = messages_file(3, seed=5, name="validation.jsonl")
    whole = bench("whole", validation, **values)
    for step in (1, 3):
        with pytest.raises(Cancelled, match="Stopped by a test"):
            bench("paused", validation, stop=_switch(bench, step, "pause"), **values)
        assert bench.recorder.of("checkpoint")[-1]["step"] == step
        assert not (tmp_path / "paused" / "output").exists()
    paused = bench("paused", validation, **values)
    assert bench.recorder.of("notice")[0]["message"] == "Going on from the checkpoint of step 3."
    expected = _weights(whole)
    assert all(torch.equal(weight, expected[name]) for name, weight in _weights(paused).items())
    assert (paused.train_loss, paused.tokens) == (whole.train_loss, whole.tokens)
    assert paused.evaluation == whole.evaluation


def test_a_cancelled_run_puts_out_its_best_state(bench: Bench, messages_file: MessagesFile) -> None:
    validation = messages_file(7, seed=5, name="validation.jsonl")
    whole = bench("whole", validation, **TOO_MUCH)
    assert whole.best_step is not None
    stop = _switch(bench, whole.best_step + 1, "cancel")
    cancelled = bench("cancelled", validation, stop=stop, **TOO_MUCH)
    assert cancelled.cancelled
    assert cancelled.steps == whole.best_step + 1
    assert cancelled.output_step == whole.best_step
    assert cancelled.eval_loss == whole.best_metric
    best = _weights(bench("best", validation, max_steps=whole.best_step, **TOO_MUCH))
    assert all(torch.equal(weight, best[name]) for name, weight in _weights(cancelled).items())


def test_a_cancelled_run_without_evaluations_puts_out_where_it_was(bench: Bench) -> None:
    cancelled = bench("cancelled", stop=_switch(bench, 3, "cancel"))
    assert (cancelled.output_step, cancelled.best_step) == (3, None)
    cut = _weights(bench("cut", stop=_switch(bench, 3, "cancel")))
    assert all(torch.equal(weight, cut[name]) for name, weight in _weights(cancelled).items())


def test_a_run_that_diverges_fails_with_what_to_do(bench: Bench) -> None:
    with pytest.raises(ModelError, match=r"The loss of step \d+ is nan: the training diverged"):
        bench("wild", learning_rate=1e30, max_grad_norm=0, precision="16", num_train_epochs=9)
    assert not (bench.folder / "wild" / "output").exists()


def test_before_the_first_step_there_is_nothing_to_put_out(bench: Bench, tmp_path: Path) -> None:
    switch = StopSwitch(lambda: "cancel")
    switch.press("a test")
    with pytest.raises(Cancelled):
        bench("run", stop=switch)
    assert not (tmp_path / "run" / "output").exists()


def test_full_determinism_repeats_itself_with_dropout(bench: Bench) -> None:
    values = {"enable_full_determinism": True, "lora_dropout": 0.3}
    first, second = _weights(bench("a", **values)), _weights(bench("b", **values))
    assert torch.are_deterministic_algorithms_enabled()
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())
    other = _weights(bench("c", lora_dropout=0.0))
    assert not torch.are_deterministic_algorithms_enabled()
    assert not all(torch.equal(weight, other[name]) for name, weight in first.items())


def test_a_damaged_checkpoint_is_said_and_changes_no_bit(bench: Bench, tmp_path: Path) -> None:
    whole = _weights(bench("whole"))
    with pytest.raises(Cancelled):
        bench("hurt", stop=_switch(bench, 5, "pause"))
    folder = tmp_path / "hurt" / "checkpoints"
    newest = max(folder.glob("step-*"))
    (newest / "state.safetensors").write_bytes(b"half of it")
    hurt = _weights(bench("hurt"))
    said = [data["message"] for data in bench.recorder.of("notice")]
    assert "The checkpoint of step 5 cannot be used" in said[0]
    assert all(torch.equal(weight, whole[name]) for name, weight in hurt.items())


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
    with pytest.raises(Conflict, match=r"other data, parameters or model: max_steps 2 \(now 3\)"):
        bench("run", max_steps=3)
    again = bench("run", max_steps=3, resume_from_checkpoint=False)
    assert again.steps == 3
    assert not bench.recorder.of("notice")
