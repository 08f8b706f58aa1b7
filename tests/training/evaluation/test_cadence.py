"""When a run evaluates and writes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.evaluation.cadence import CHECKPOINT_SHARE, CheckpointClock, EvaluationTimes


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({"evaluation_strategy": "epoch"}, [0, 10, 20, 25]),
        ({"evaluation_strategy": "steps", "eval_steps": 7}, [0, 7, 14, 21, 25]),
        (
            {"evaluation_strategy": "steps", "evaluation_steps_interval": 0.5},
            [0, 5, 10, 15, 20, 25],
        ),
        ({"evaluation_strategy": "steps", "evaluation_steps_interval": 0.01}, list(range(26))),
        ({"evaluation_strategy": "disable"}, [0, 25]),
    ],
)
def test_the_steps_after_which_it_evaluates(values: dict[str, Any], steps: list[int]) -> None:
    """Epochs of 10 steps, 25 steps in all."""
    parameters = FineTuneParameters.model_validate(values)
    times = EvaluationTimes.of(parameters, steps_per_epoch=10, max_steps=25)
    assert [step for step in range(26) if times.due(step)] == steps


@given(st.one_of(st.none(), st.integers(1, 12)), st.integers(1, 40))
def test_those_that_are_left_are_those_that_come(interval: int | None, max_steps: int) -> None:
    times = EvaluationTimes(interval, max_steps)
    for step in range(max_steps + 1):
        coming = [later for later in range(step + 1, max_steps + 1) if times.due(later)]
        assert times.left(step) == len(coming)


def test_slow_writing_makes_checkpoints_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("phoundry.training.evaluation.cadence.time.monotonic", lambda: now[0])
    clock = CheckpointClock(every=30)
    now[0] = 129.0
    assert not clock.due()
    now[0] = 130.0
    assert clock.due()
    now[0] = 134.0
    clock.saved(begun=130.0)  # four seconds of writing
    assert clock.share() == pytest.approx(1 / CHECKPOINT_SHARE)
    now[0] = 134.0 + 4 * CHECKPOINT_SHARE - 1
    assert not clock.due()
    now[0] += 1
    assert clock.due()
