"""Which evaluation was the best so far, and when to stop waiting for a better one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from phoundry.errors import InvalidInput
from phoundry.specs.finetune import FineTuneParameters

Metric = Literal["loss", "f1", "exact"]


@dataclass(slots=True)
class Standing:
    """What the evaluations so far amount to; a checkpoint keeps it. Metrics are finite."""

    best_step: int | None = None
    best_metric: float | None = None
    waited: int = 0  # evaluations since one was better by more than the threshold
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one evaluation: the best so far; and whether training ends with it."""

    best: bool
    stop: bool


class Judge:
    """Compares evaluations by `metric`: of losses the lower is better, of f1 and exact the higher.

    Early stopping counts as transformers' EarlyStoppingCallback does: an evaluation that is not
    better than the best before it by more than `threshold` is waited out, and `patience` of them in
    a row end the training. What is better by less still is the best. A metric that is no number
    (training diverged) is never better. The base model is not judged: it is nothing that was
    trained, and a run that makes it worse should say so instead of handing it back.
    """

    def __init__(self, parameters: FineTuneParameters, standing: Standing | None = None) -> None:
        self.metric: Metric = parameters.metric_for_best_model
        self.patience = parameters.early_stopping_patience
        self.threshold = parameters.early_stopping_threshold
        self.stops_early = parameters.apply_early_stopping
        self.standing = standing or Standing()

    def take(self, step: int, metric: float) -> Verdict:
        """Judge the evaluation of `step`."""
        now = self.standing
        gain = self._gain(metric)
        now.waited = 0 if gain > self.threshold else now.waited + 1
        if gain > 0:
            now.best_step, now.best_metric = step, metric
        now.stopped = self.stops_early and now.waited >= self.patience
        return Verdict(best=gain > 0, stop=now.stopped)

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is a better metric than `other`."""
        return one < other if self.metric == "loss" else one > other

    def _gain(self, metric: float) -> float:
        """How much better than the best so far; the first number is better than none."""
        best = self.standing.best_metric
        if not math.isfinite(metric):
            return -math.inf
        if best is None:
            return math.inf
        return best - metric if self.metric == "loss" else metric - best


def wants_best(parameters: FineTuneParameters) -> bool:
    """Whether the output is the best evaluated state instead of the last."""
    return parameters.load_best_model_at_end or parameters.apply_early_stopping


def check_can_judge(parameters: FineTuneParameters, *, validation: bool) -> None:
    """Refuse what needs held-out conversations where there are none.

    Raises:
        InvalidInput: the best state is asked for, and nothing would be evaluated.
    """
    evaluates = validation and parameters.evaluation_strategy != "disable"
    names = ("apply_early_stopping", "load_best_model_at_end")
    asked = [name for name in names if getattr(parameters, name)]
    if evaluates or not asked:
        return
    why = "there is no validation data" if not validation else "evaluation_strategy is disable"
    raise InvalidInput(
        f"{' and '.join(asked)} compare evaluations, and {why}.",
        remedy="Give validation data (or split the training data) and evaluate by epoch or steps, "
        f"or set {' and '.join(f'{name}=false' for name in asked)}.",
    )
