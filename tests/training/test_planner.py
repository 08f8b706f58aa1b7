"""The planning worker: what it finds for a run that fits, and for one that does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phoundry.specs.job import JobPlan
from phoundry.spool import Spool
from phoundry.training import planner
from phoundry.training.examples import read_samples
from tests.training.conftest import CheckpointMaker
from tests.training.drafts import LORA

Planned = Callable[..., JobPlan]


@pytest.fixture
def plan(
    checkpoint_maker: CheckpointMaker,
    messages_file: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Planned:
    monkeypatch.setattr("phoundry.training.planning.matmul.SIDE", 64)
    train, held = messages_file(40), messages_file(6, seed=1, name="held.jsonl")

    def make(checkpoint: Path | None = None, **values: Any) -> JobPlan:
        run_dir = tmp_path / "runs" / "plan"
        run_dir.mkdir(parents=True, exist_ok=True)
        spec = {
            "checkpoint_dir": str(checkpoint or checkpoint_maker("llama")),
            "train_path": str(train),
            "validation_path": str(held),
            "parameters": {**LORA, **values},
            "sources": {"precision": "user"},
            "cache_dir": str(tmp_path / "cache"),
        }
        result = planner.run(spec, run_dir, Spool(run_dir / "events.jsonl"))
        json.dumps(result)
        return JobPlan.model_validate(result["plan"])

    return make


def test_counts_are_those_of_the_data(
    plan: Planned, checkpoint_maker: CheckpointMaker, tmp_path: Path
) -> None:
    found = plan(num_train_epochs=3)
    samples = read_samples(tmp_path / "train.jsonl", checkpoint_maker("llama"), longest=512)
    assert found.conversations == 40
    assert found.tokens_per_epoch == samples.tokens
    assert found.supervised_tokens_per_epoch == samples.supervised
    assert found.tokens == 3 * samples.tokens
    assert found.epochs == 3
    assert found.parameters["num_train_epochs"] == 3


def test_speed_time_memory_and_disk_are_told_with_what_was_chosen(plan: Planned) -> None:
    found = plan()
    assert found.fits
    assert found.would_fit == []
    assert found.seconds
    assert found.seconds > 0
    assert found.tokens_per_second
    assert found.tokens_per_second > 0
    assert found.mfu
    assert found.mfu > 0
    assert found.memory_bytes
    assert found.available_bytes
    assert found.memory_bytes < found.available_bytes
    assert found.disk_bytes
    assert found.free_disk_bytes
    assert {choice.name for choice in found.choices} >= {"precision", "row_tokens"}


def test_nothing_of_a_run_is_left_in_its_folder(plan: Planned, tmp_path: Path) -> None:
    plan()
    left = {path.name for path in (tmp_path / "runs" / "plan").iterdir()}
    assert left <= {"events.jsonl"}


def test_what_cannot_fit_is_told_with_what_would(
    plan: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phoundry.training.machine.available_memory", lambda: 1)
    monkeypatch.setattr("phoundry.training.machine.resident_memory", lambda: 1)
    found = plan(apply_lora=False)
    assert not found.fits
    assert found.seconds is None
    assert found.memory_bytes
    assert found.memory_bytes > 2
    assert any("can be had" in notice for notice in found.notices)


def test_a_full_disk_is_told(plan: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path) -> int:
        return 10

    monkeypatch.setattr("phoundry.training.machine.free_disk", full)
    found = plan()
    assert not found.fits
    assert "save_total_limit=1" in found.would_fit[0]


def test_early_stopping_is_noticed(plan: Planned) -> None:
    found = plan(apply_early_stopping=True, num_train_epochs=2)
    assert any("Early stopping" in notice for notice in found.notices)
