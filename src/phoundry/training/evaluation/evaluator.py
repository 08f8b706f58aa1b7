"""Looking at the model while it learns: loss and token accuracy, sample answers, f1 and exact."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from phoundry.specs.job import SampleGeneration
from phoundry.training.batch import Row
from phoundry.training.evaluation import answers
from phoundry.training.evaluation.questions import Answering, Question, Questions
from phoundry.training.interrupt import StopSwitch


class Measured(Protocol):
    """Of one row: sum of losses (nats), greedy tokens that are right, supervised tokens."""

    @property
    def loss_sum(self) -> float: ...
    @property
    def correct(self) -> int: ...
    @property
    def targets(self) -> int: ...


class Evaluated(Answering, Protocol):
    """What of `TunedModel` an evaluation needs."""

    def measure(self, row: Row) -> Measured: ...
    def train(self, mode: bool = True) -> None: ...


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Means over the validation set's supervised tokens, every token counting alike; f1 and exact
    over its scored conversations."""

    loss: float
    token_accuracy: float
    f1: float | None = None
    exact: float | None = None
    samples: list[SampleGeneration] = field(default_factory=list[SampleGeneration])
    seconds: float = 0.0

    def metrics(self) -> dict[str, float]:
        """`eval_loss`, `eval_token_accuracy`; where they were taken, `eval_f1` and `eval_exact`."""
        scored = {"eval_f1": self.f1, "eval_exact": self.exact}
        return {
            "eval_loss": self.loss,
            "eval_token_accuracy": self.token_accuracy,
            **{name: value for name, value in scored.items() if value is not None},
        }


class Evaluator:
    """Evaluates one model on one validation set, the same way every time.

    Nothing random takes part (dropout is off, answers are greedy), so a run that is resumed
    evaluates as one that was never interrupted.
    """

    def __init__(
        self,
        model: Evaluated,
        rows: Sequence[Row],
        questions: Questions | None,
        stop: StopSwitch,
    ) -> None:
        self.model, self.rows, self.questions, self.stop = model, rows, questions, stop

    def run(self, step: int) -> Evaluation:
        """Evaluate the model as it is after `step` steps.

        Raises:
            Cancelled: the switch was pressed; nothing has changed.
        """
        begun = time.monotonic()
        self.model.train(False)
        try:
            loss, accuracy = self._measure()
            samples, f1, exact = self._ask(step)
        finally:
            self.model.train()
        return Evaluation(loss, accuracy, f1, exact, samples, time.monotonic() - begun)

    def _measure(self) -> tuple[float, float]:
        loss, correct, targets = 0.0, 0, 0
        for row in self.rows:
            with self.stop.abandoning():
                measured = self.model.measure(row)
            loss += measured.loss_sum
            correct += measured.correct
            targets += measured.targets
        return loss / targets, correct / targets

    def _ask(self, step: int) -> tuple[list[SampleGeneration], float | None, float | None]:
        if self.questions is None:
            return [], None, None
        answered: list[tuple[Question, str, bool]] = []
        for group in self.questions.groups():
            with self.stop.abandoning():
                told = self.questions.answer(self.model, group)
            answered += [(one, *answer) for one, answer in zip(group, told, strict=True)]
        samples = [
            SampleGeneration(
                step=step,
                prompt=question.prompt,
                reference=question.reference,
                answer=answer if ended else f"{answer} …",
            )
            for question, answer, ended in answered[: self.questions.shown]
        ]
        scored = [(answer, one.reference) for one, answer, _ in answered[: self.questions.scored]]
        f1 = [answers.f1(*each) for each in scored]
        exact = [answers.exact(*each) for each in scored]
        return samples, _mean(f1), _mean(exact)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
