"""How fast it goes, what is left, and saying so."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from phoundry.specs.job import Progress
from phoundry.training.spec import Reporter

# A step of a large model takes minutes; a watcher should see a sign of life before that.
HEARTBEAT_SECONDS = 5.0


@dataclass(slots=True)
class Meter:
    """Counts tokens, losses and seconds of training; evaluation and checkpoints are left out."""

    max_steps: int
    total_tokens: int  # of the whole run
    reporter: Reporter
    every_steps: int
    tokens: int = 0  # trained on so far, a resumed run's earlier ones included
    trained_tokens: int = 0  # by this process
    trained_seconds: float = 0.0
    evaluation_seconds: float = 0.0  # of the latest evaluation
    evaluations_left: int = 0
    eval_loss: float | None = None
    _loss_sum: float = 0.0
    _targets: int = 0
    _window_tokens: int = 0
    _window_seconds: float = 0.0
    _reported_step: int = 0
    _reported_at: float = field(default_factory=time.monotonic)

    def count(self, *, tokens: int, targets: int, loss_sum: float, seconds: float) -> None:
        """Take in one optimizer step."""
        self.tokens += tokens
        self.trained_tokens += tokens
        self.trained_seconds += seconds
        self._window_tokens += tokens
        self._window_seconds += seconds
        self._loss_sum += loss_sum
        self._targets += targets

    def rate(self) -> float:
        """Tokens a second of this process's training."""
        return self.trained_tokens / self.trained_seconds if self.trained_seconds else 0.0

    def report(self, *, step: int, epoch: float, learning_rate: float, last: bool) -> None:
        """Say where the run is, every `every_steps` steps, after a while, and at the end."""
        due = step - self._reported_step >= self.every_steps or last
        if not due and time.monotonic() - self._reported_at < HEARTBEAT_SECONDS:
            return
        if not self._targets:
            return
        window = self._window_tokens / self._window_seconds if self._window_seconds else 0.0
        left = max(0, self.total_tokens - self.tokens) / (window or 1.0)
        left += self.evaluations_left * self.evaluation_seconds
        progress = Progress(
            step=step,
            max_steps=self.max_steps,
            epoch=round(epoch, 4),
            loss=self._loss_sum / self._targets,
            eval_loss=self.eval_loss,
            learning_rate=learning_rate,
            tokens=self.tokens,
            tokens_per_second=window,
            seconds_left=left,
        )
        self.reporter.event("progress", **progress.model_dump())
        self.reporter.line(
            f"step {step}/{self.max_steps}  epoch {epoch:.2f}  loss {progress.loss:.4f}  "
            f"lr {learning_rate:.2e}  {window:.0f} tok/s  {left:.0f} s left"
        )
        self._loss_sum, self._targets = 0.0, 0
        self._window_tokens, self._window_seconds = 0, 0.0
        self._reported_step, self._reported_at = step, time.monotonic()
