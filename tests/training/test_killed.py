"""A run that is killed at any moment, as often as one likes, ends as if nothing had happened."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import CheckpointMaker
from tests.training.killing import Job

MessagesFile = Callable[..., Path]
KILLS = 6  # of each run, while it lasts

LORA: dict[str, Any] = {
    "apply_lora": True,
    "lora_r": 4,
    "lora_dropout": 0.1,
    "precision": "16",
    "load_best_model_at_end": True,
    "save_total_limit": 2,
}
FULL: dict[str, Any] = {
    "optim": "adafactor",
    "apply_early_stopping": True,
    "early_stopping_patience": 3,
    "metric_for_best_model": "f1",
    "save_total_limit": 1,
}


@pytest.fixture
def job_of(
    checkpoint_maker: CheckpointMaker, messages_file: MessagesFile, tmp_path: Path
) -> Callable[..., Job]:
    def make(kind: str, **values: Any) -> Job:
        common = {
            "num_train_epochs": 2,
            "pack_length": 64,
            "learning_rate": 1e-2,
            "evaluation_strategy": "steps",
            "eval_steps": 2,
            "sample_generations": 0,
            "logging_steps": 1,
        }
        validation = messages_file(2, seed=5, name="validation.jsonl")
        return Job(
            tmp_path / "whole",
            checkpoint_maker(kind),
            messages_file(10),
            validation,
            {**common, **values},
        )

    return make


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("kind", "values"), [("phi3", LORA), ("llama", FULL)])
def test_it_ends_with_the_same_bits(
    kind: str, values: dict[str, Any], seed: int, job_of: Callable[..., Job]
) -> None:
    whole = job_of(kind, **values)
    calls = whole.finish()
    chooser = random.Random(seed)
    killed = whole.named("killed")
    kills = sum(killed.signal_at(chooser.randint(1, calls)) for _ in range(KILLS))
    assert kills >= 2, "it was hardly ever killed"
    killed.finish()
    assert killed.output() == whole.output()
    best = whole.events("progress")[-1]
    again = killed.events("progress")[-1]
    for name in ("step", "loss", "eval_loss", "best_step", "best_metric"):
        assert again[name] == best[name], name
