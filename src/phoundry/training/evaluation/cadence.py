"""When a run evaluates, and when it writes checkpoints."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from phoundry.specs.finetune import FineTuneParameters

CHECKPOINT_SECONDS = 30.0
# Writing state may cost at most one part in this many of the time between two checkpoints.
CHECKPOINT_SHARE = 20


@dataclass(frozen=True, slots=True)
class EvaluationTimes:
    """A function of the step: before the first one, every `interval` steps, and after the last.

    `interval` None: only those two, which is what is left of a strategy that comes at no step.
    """

    interval: int | None
    max_steps: int

    @classmethod
    def of(
        cls, parameters: FineTuneParameters, *, steps_per_epoch: int, max_steps: int
    ) -> EvaluationTimes:
        """By epoch, by `eval_steps`, or by `evaluation_steps_interval`, a share of an epoch."""
        p = parameters
        if p.evaluation_strategy == "epoch":
            return cls(steps_per_epoch, max_steps)
        if p.evaluation_strategy == "steps" and p.evaluation_steps_interval:
            return cls(max(1, round(p.evaluation_steps_interval * steps_per_epoch)), max_steps)
        return cls(p.eval_steps if p.evaluation_strategy == "steps" else None, max_steps)

    def due(self, step: int) -> bool:
        """Whether an evaluation belongs after `step` steps."""
        if step in (0, self.max_steps):
            return True
        return self.interval is not None and step % self.interval == 0

    def left(self, step: int) -> int:
        """Evaluations that come after `step`."""
        if step >= self.max_steps:
            return 0
        between = 0
        if self.interval is not None:
            between = (self.max_steps - 1) // self.interval - step // self.interval
        return between + 1


@dataclass(slots=True)
class CheckpointClock:
    """Checkpoints beside those at ends of epochs: every `every` seconds, or more rarely where
    writing is slow."""

    every: float = CHECKPOINT_SECONDS
    cost: float = 0.0  # seconds that the last one took
    saved_at: float = field(default_factory=lambda: time.monotonic())

    def due(self) -> bool:
        return time.monotonic() - self.saved_at >= self._interval()

    def saved(self, begun: float) -> None:
        """A checkpoint was written from `begun` (monotonic seconds) until now."""
        self.saved_at = time.monotonic()
        self.cost = self.saved_at - begun

    def share(self) -> float:
        """Seconds of writing for each second of training."""
        return self.cost / self._interval() if self.cost else 0.0

    def _interval(self) -> float:
        return max(self.every, CHECKPOINT_SHARE * self.cost)
