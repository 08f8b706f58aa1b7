"""How fast it goes, what is left, and saying so."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from phoundry.specs.job import Progress
from phoundry.training.checkpoints.state import Tally
from phoundry.training.spec import Reporter

# A step of a large model takes minutes; a watcher should see a sign of life before that.
HEARTBEAT_SECONDS = 5.0
# Speed is that of about the last minute: long enough to be steady, short enough to follow a
# machine that got busy.
WINDOW_SECONDS = 60.0


@dataclass(slots=True)
class Meter:
    """Counts tokens and seconds of training; evaluation and checkpoints are left out of the speed.

    Args:
        every_steps: steps between two entries of the curves; None: one at each end of an epoch.
        flops_per_token: operations of a trained token (flops.py).
        flops_per_second_limit: the machine's best matrix product (matmul.py). MFU is
            tokens/s × flops_per_token ÷ flops_per_second_limit, None without both.
    """

    max_steps: int
    total_tokens: int  # of the whole run
    reporter: Reporter
    every_steps: int | None
    flops_per_token: float | None = None
    flops_per_second_limit: float | None = None
    trained_tokens: int = 0  # by this process
    trained_seconds: float = 0.0
    evaluation_seconds: float = 0.0  # of the latest evaluation
    _recent: deque[tuple[int, float]] = field(default_factory=deque[tuple[int, float]])
    _said_at: float = field(default_factory=lambda: time.monotonic())

    def count(self, *, tokens: int, seconds: float) -> None:
        """Take in one optimizer step."""
        self.trained_tokens += tokens
        self.trained_seconds += seconds
        self._recent.append((tokens, seconds))
        covered = sum(seconds for _, seconds in self._recent)
        while (covered := covered - self._recent[0][1]) >= WINDOW_SECONDS:
            self._recent.popleft()

    def rate(self) -> float:
        """Tokens a second of this process's training."""
        return self.trained_tokens / self.trained_seconds if self.trained_seconds else 0.0

    def mfu(self, rate: float) -> float | None:
        """Share of the machine's best matrix product rate that `rate` tokens a second are."""
        if self.flops_per_token is None or not self.flops_per_second_limit:
            return None
        return share_of(rate * self.flops_per_token, self.flops_per_second_limit)

    def seconds_left(self, tokens: int, *, evaluations: int, writing: float) -> float:
        """Of training after `tokens` of it, of as many `evaluations` as the latest took, and of
        checkpoints, which take `writing` seconds for each second of training."""
        rate = self._recent_rate()
        training = max(0, self.total_tokens - tokens) / rate if rate else 0.0
        return training * (1 + writing) + evaluations * self.evaluation_seconds

    def due(self, step: int, *, epoch_end: bool) -> bool:
        """Whether the curves get an entry after `step`. A function of the step alone."""
        if step == self.max_steps:
            return True
        return epoch_end if self.every_steps is None else step % self.every_steps == 0

    def report(
        self,
        tally: Tally,
        *,
        step: int,
        epoch: float,
        epoch_end: bool,
        learning_rate: float,
        evaluations_left: int,
        writing: float,
    ) -> None:
        """Say where the run is: at every entry of the curves (`logged`), and else as a sign of
        life after a while. The loss is the mean since the last entry."""
        logged = self.due(step, epoch_end=epoch_end)
        if not logged and time.monotonic() - self._said_at < HEARTBEAT_SECONDS:
            return
        rate = self._recent_rate()
        left = self.seconds_left(tally.tokens, evaluations=evaluations_left, writing=writing)
        progress = Progress(
            step=step,
            max_steps=self.max_steps,
            epoch=round(epoch, 4),
            loss=tally.logged_loss_sum / max(1, tally.logged_targets),
            eval_loss=tally.evaluated.get("eval_loss"),
            learning_rate=learning_rate,
            tokens=tally.tokens,
            tokens_per_second=rate,
            seconds_left=left,
            mfu=self.mfu(rate),
            eval_token_accuracy=tally.evaluated.get("eval_token_accuracy"),
            best_step=tally.standing.best_step,
            best_metric=tally.standing.best_metric,
        )
        self.reporter.event("progress", **progress.model_dump(), logged=logged)
        self.reporter.line(_line(progress))
        self._said_at = time.monotonic()
        if logged:
            tally.logged_loss_sum, tally.logged_targets = 0.0, 0

    def _recent_rate(self) -> float:
        seconds = sum(seconds for _, seconds in self._recent)
        return sum(tokens for tokens, _ in self._recent) / seconds if seconds else 0.0


def share_of(flops_per_second: float, limit: float) -> float | None:
    """The share of `limit`; None where it is more than all: the limit was measured while the
    machine was busy with other work, and says nothing."""
    share = flops_per_second / limit
    return share if share <= 1 else None


def _line(now: Progress) -> str:
    mfu = "" if now.mfu is None else f"  MFU {now.mfu:.0%}"
    return (
        f"step {now.step}/{now.max_steps}  epoch {now.epoch:.2f}  loss {now.loss:.4f}  "
        f"lr {now.learning_rate:.2e}  {now.tokens_per_second:.0f} tok/s{mfu}  "
        f"{now.seconds_left:.0f} s left"
    )
