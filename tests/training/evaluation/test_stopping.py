"""Which evaluation is the best, and when enough were waited for."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import EarlyStoppingCallback

from phoundry.errors import InvalidInput
from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.evaluation.stopping import Judge, check_can_judge, wants_best

METRICS = st.lists(st.integers(0, 8).map(lambda tenths: tenths / 8), min_size=1, max_size=12)


def _parameters(**values: Any) -> FineTuneParameters:
    return FineTuneParameters(apply_early_stopping=True, **values)


@given(
    METRICS, st.integers(1, 4), st.sampled_from([0.0, 0.125, 0.5]), st.sampled_from(["loss", "f1"])
)
def test_it_stops_where_transformers_does_and_keeps_what_transformers_keeps(
    metrics: list[float], patience: int, threshold: float, metric: str
) -> None:
    """Their Trainer asks the callback first and takes a better metric as the best afterwards."""
    parameters = _parameters(
        early_stopping_patience=patience,
        early_stopping_threshold=threshold,
        metric_for_best_model=metric,
    )
    judge = Judge(parameters)
    callback = EarlyStoppingCallback(patience, threshold)
    arguments: Any = SimpleNamespace(greater_is_better=metric != "loss")
    state: Any = SimpleNamespace(best_metric=None)
    best_step = 0
    for step, value in enumerate(metrics, start=1):
        callback.check_metric_value(arguments, state, None, value)
        if state.best_metric is None or judge.better(value, state.best_metric):
            state.best_metric, best_step = value, step
        verdict = judge.take(step, value)
        assert verdict.stop == (callback.early_stopping_patience_counter >= patience)
        assert verdict.best == (best_step == step)
        assert (judge.standing.best_step, judge.standing.best_metric) == (
            best_step,
            state.best_metric,
        )
        if verdict.stop:
            break


def test_without_early_stopping_it_never_stops_and_still_knows_the_best() -> None:
    judge = Judge(FineTuneParameters())
    verdicts = [judge.take(step, loss) for step, loss in enumerate([2.0, 1.0, 3.0, 4.0, 5.0], 1)]
    assert [verdict.best for verdict in verdicts] == [True, True, False, False, False]
    assert not any(verdict.stop for verdict in verdicts)
    assert judge.standing.best_step == 2


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_never_the_best_and_is_waited_out(bad: float) -> None:
    judge = Judge(_parameters(early_stopping_patience=2))
    assert judge.take(1, bad).best is False
    assert judge.standing.best_metric is None
    assert judge.take(2, 3.0).best
    assert not judge.take(3, bad).stop
    assert judge.take(4, bad).stop
    assert judge.standing.best_step == 2


@pytest.mark.parametrize("name", ["apply_early_stopping", "load_best_model_at_end"])
def test_the_best_cannot_be_asked_for_without_anything_to_evaluate(name: str) -> None:
    asked = FineTuneParameters.model_validate({name: True})
    assert wants_best(asked)
    check_can_judge(asked, validation=True)
    with pytest.raises(InvalidInput, match=f"{name} compare evaluations, and there is no valid"):
        check_can_judge(asked, validation=False)
    check_can_judge(FineTuneParameters(), validation=False)
