"""A few real steps before the start change nothing of the run that follows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from phoundry.training.checkpoints.folder import CheckpointFolder
from phoundry.training.loop import train
from phoundry.training.planning import calibrate as module
from phoundry.training.planning import choose
from phoundry.training.planning.calibrate import calibrate
from phoundry.training.planning.choices import Choices
from phoundry.training.planning.choose import Options
from phoundry.training.planning.draft import Draft, make_draft
from phoundry.training.spec import TrainingSpec
from tests.training.conftest import CheckpointMaker, Recorder
from tests.training.drafts import make_spec

OPTIONS = Options(("32",), (32, 64, 128), 64, recompute=False, batch=None, available=10**10)


@pytest.fixture(autouse=True)
def enough_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else the machine does, every candidate has its turn."""
    monkeypatch.setattr(module, "BUDGET_SECONDS", 3600.0)


@pytest.fixture
def make(
    checkpoint_maker: CheckpointMaker, messages_file: Callable[..., Path], tmp_path: Path
) -> Callable[..., TrainingSpec]:
    train_path, held = messages_file(40), messages_file(6, seed=1, name="held.jsonl")

    def spec(name: str = "run", **values: Any) -> TrainingSpec:
        checkpoint = checkpoint_maker("llama")
        folder = tmp_path / name
        return make_spec(checkpoint, train_path, folder, validation=held, **values)

    return spec


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}


@pytest.mark.parametrize(
    "values",
    [
        {"lora_dropout": 0.2},
        {"apply_lora": False, "learning_rate": 1e-3},
        {"optim": "adafactor", "precision": "16"},
    ],
)
def test_the_run_that_follows_has_the_same_bits(
    make: Callable[..., TrainingSpec], monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]
) -> None:
    fixed = Choices(precision=values.get("precision", "32"), row_tokens=64)
    rehearsed: list[Choices] = []

    def rehearse(spec: TrainingSpec, draft: Draft, say: Any = None) -> Choices:
        options = Options((fixed.precision,), (32, 64), 64, False, None, 10**10)
        rehearsed.append(calibrate(spec, draft, options))
        return fixed

    outputs: list[dict[str, bytes]] = []

    def take(spec: TrainingSpec, draft: Draft, say: Any = None) -> Choices:
        return fixed

    for name, chosen in (("plain", take), ("rehearsed", rehearse)):
        monkeypatch.setattr("phoundry.training.planning.plan.choose", chosen)
        spec = make(name, **values)
        result = train(spec, Recorder(), CheckpointFolder(spec.output_dir.parent / "checkpoints"))
        outputs.append(_bytes(result.output))
    assert rehearsed[0].speed is not None
    assert outputs[0]
    assert outputs[0] == outputs[1]


def test_random_state_and_threads_are_put_back(make: Callable[..., TrainingSpec]) -> None:
    spec = make(lora_dropout=0.5)
    torch.manual_seed(11)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    calibrate(spec, make_draft(spec), OPTIONS)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_every_candidate_is_timed_and_the_choice_says_how_fast_they_were(
    make: Callable[..., TrainingSpec],
) -> None:
    spec = make(precision="32")
    heard: list[str] = []
    options = Options(("32", "16"), (32, 64, 128), 64, False, None, 10**10)
    choices = calibrate(spec, make_draft(spec), options, heard.append)
    entries = {entry.name: entry for entry in choices.entries}
    assert set(entries["row_tokens"].measured) == {"32", "64", "128"}
    assert set(entries["precision"].measured) == {"16", "32"}
    assert choices.row_tokens in (32, 64, 128)
    assert len(heard) == 3
    speed = choices.speed
    assert speed is not None
    assert min(speed.tokens_per_second, speed.evaluated_per_second, speed.written_per_second) > 0
    assert speed.generated_per_second is not None


@pytest.mark.parametrize(
    ("rates", "row"),
    [
        ({32: 100.0, 64: 100.0, 128: 101.0}, 64),
        ({32: 100.0, 64: 100.0, 128: 120.0}, 128),
        ({32: 130.0, 64: 100.0, 128: 120.0}, 32),
    ],
)
def test_another_row_than_the_usual_one_must_be_clearly_faster(
    make: Callable[..., TrainingSpec],
    monkeypatch: pytest.MonkeyPatch,
    rates: dict[int, float],
    row: int,
) -> None:
    def rate(self: module.Rehearsal, row_tokens: int) -> float:
        return rates[row_tokens]

    monkeypatch.setattr(module.Rehearsal, "computed_per_second", rate)
    spec = make()
    choices = calibrate(spec, make_draft(spec), OPTIONS)
    assert choices.row_tokens == row
    assert choices.speed is not None
    assert choices.speed.tokens_per_second == rates[row]


def test_where_time_is_short_the_usual_row_alone_is_timed(
    make: Callable[..., TrainingSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUDGET_SECONDS", 0.0)
    spec = make()
    options = Options(("32", "16"), (32, 64, 128), 64, False, None, 10**10)
    choices = calibrate(spec, make_draft(spec), options)
    entries = {entry.name: entry for entry in choices.entries}
    assert set(entries["row_tokens"].measured) == {"64"}
    assert "not tried: 32, 128" in entries["row_tokens"].why
    assert entries["precision"].measured == {}
    assert (choices.precision, choices.row_tokens) == ("32", 64)


def test_a_long_run_is_measured_before_it_starts(
    make: Callable[..., TrainingSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "WORTH", 0)
    spec = make()
    choices = choose.choose(spec, make_draft(spec))
    assert choices.speed is None or choices.speed.tokens_per_second > 0
    assert choices.entries
