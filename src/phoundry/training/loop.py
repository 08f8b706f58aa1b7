"""The training loop: `train(spec, reporter, checkpoints)`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch

from phoundry.errors import Conflict
from phoundry.training import machine
from phoundry.training.batch import rows_of_step
from phoundry.training.checkpoint import Checkpoint, CheckpointFolder
from phoundry.training.model import TunedModel
from phoundry.training.optimizer import MasterOptimizer
from phoundry.training.plan import make_plan
from phoundry.training.progress import Meter
from phoundry.training.schedule import factor
from phoundry.training.spec import Reporter, TrainingResult, TrainingSpec

CHECKPOINT_SECONDS = 30.0
# Writing state may cost at most one part in this many of the time between two checkpoints.
CHECKPOINT_SHARE = 20


def train(spec: TrainingSpec, reporter: Reporter, checkpoints: CheckpointFolder) -> TrainingResult:
    """Fine-tune, from the newest checkpoint where there is one, and write the output.

    The loss of a step is the sum over its supervised tokens divided by their number, whatever the
    rows they came in. On a CPU a run that was killed and resumed ends with the same bits as one
    that was not.

    Raises:
        InvalidInput: nothing to learn from, or an architecture that is not known here.
        InsufficientResources: it would not fit the memory; said before anything is loaded.
        Conflict: the checkpoints belong to a run with other data or parameters.
        Cancelled: a signal came (see worker.py); the newest checkpoint stays.
    """
    started = time.monotonic()
    run = _Run(spec, reporter, checkpoints)
    run.go()
    output = run.model.save(spec.output_dir)
    return TrainingResult(
        steps=run.step,
        train_loss=run.epoch_loss(),
        eval_loss=run.meter.eval_loss,
        first_eval_loss=run.tally.first_eval_loss,
        tokens=run.meter.tokens,
        seconds=time.monotonic() - started,
        tokens_per_second=run.meter.rate(),
        peak_memory=machine.peak_memory(),
        output=output,
    )


@dataclass(slots=True)
class _Tally:
    """What a checkpoint keeps beside the weights."""

    tokens: int = 0
    loss_sum: float = 0.0  # of the epoch under way
    targets: int = 0
    last_epoch_loss: float | None = None
    eval_loss: float | None = None
    first_eval_loss: float | None = None

    def close_epoch(self) -> None:
        self.last_epoch_loss = self.loss_sum / max(1, self.targets)
        self.loss_sum, self.targets = 0.0, 0


@dataclass(slots=True)
class _Clock:
    """When the last checkpoint was, and what it cost."""

    saved_at: float = field(default_factory=time.monotonic)
    cost: float = 0.0

    def due(self) -> bool:
        interval = max(CHECKPOINT_SECONDS, CHECKPOINT_SHARE * self.cost)
        return time.monotonic() - self.saved_at >= interval


class _Run:
    """One fine-tune from its start or its newest checkpoint to its end."""

    def __init__(
        self, spec: TrainingSpec, reporter: Reporter, checkpoints: CheckpointFolder
    ) -> None:
        self.reporter, self.checkpoints = reporter, checkpoints
        self.parameters = p = spec.parameters
        self.plan = make_plan(spec, reporter.line)
        self.order, self.samples = self.plan.order, self.plan.samples
        self.max_steps = self.plan.max_steps
        torch.set_num_threads(machine.cores())
        torch.manual_seed(p.seed)
        torch.use_deterministic_algorithms(p.enable_full_determinism)
        self.model = TunedModel(spec.checkpoint_dir, p)
        self.optimizer = MasterOptimizer(self.model.trainable(), p)
        self.evaluation = self.plan.evaluation_rows(p.per_device_eval_batch_size)
        self.step = 0
        self.tally = _Tally()
        self.clock = _Clock()
        self.meter = Meter(self.max_steps, self.plan.tokens, reporter, p.logging_steps)

    def go(self) -> None:
        """Every step that is left."""
        self._resume()
        self._announce()
        if self.step == 0:
            self._evaluate()
        while self.step < self.max_steps:
            epoch, done = divmod(self.step, self.order.steps_per_epoch)
            for packs in self.order.steps(epoch)[done:]:
                self._train_step(packs)
                ended = self.step % self.order.steps_per_epoch == 0
                if ended:
                    self.tally.close_epoch()
                self._after_step(epoch_end=ended)
                if self.step == self.max_steps:
                    break

    def epoch_loss(self) -> float:
        """Mean loss of the last epoch that was trained, whole or not."""
        if self.tally.targets:
            return self.tally.loss_sum / self.tally.targets
        return self.tally.last_epoch_loss or 0.0

    def _train_step(self, packs: list[list[int]]) -> None:
        begun = time.monotonic()
        rows = rows_of_step(packs, self.samples, self.parameters.per_device_train_batch_size)
        targets = sum(len(row.targets) for row in rows)
        tokens = sum(row.tokens for row in rows)
        loss_sum = 0.0
        for row in rows:
            loss = self.model.loss_sum(row)
            torch.autograd.backward(loss / targets)
            self.optimizer.collect()
            loss_sum += float(loss.detach())
        self.optimizer.step(self._learning_rate(self.step))
        self.step += 1
        self.tally.tokens += tokens
        self.tally.loss_sum += loss_sum
        self.tally.targets += targets
        seconds = time.monotonic() - begun
        self.meter.count(tokens=tokens, targets=targets, loss_sum=loss_sum, seconds=seconds)

    def _after_step(self, *, epoch_end: bool) -> None:
        last = self.step == self.max_steps
        p = self.parameters
        by_steps = p.evaluation_strategy == "steps" and self.step % p.eval_steps == 0
        if last or by_steps or (epoch_end and p.evaluation_strategy == "epoch"):
            self._evaluate()
        self.meter.report(
            step=self.step,
            epoch=self.step / self.order.steps_per_epoch,
            learning_rate=self._learning_rate(self.step - 1),
            last=last,
        )
        if epoch_end or last or self.clock.due():
            self._save(epoch_end=epoch_end)

    def _learning_rate(self, step: int) -> float:
        p = self.parameters
        share = factor(
            p.lr_scheduler_type,
            step,
            warmup=p.warmup_steps,
            total=self.max_steps,
            learning_rate=p.learning_rate,
        )
        return p.learning_rate * share

    def _evaluate(self) -> None:
        """Mean loss of the validation set's supervised tokens, every token counting alike."""
        if not self.evaluation:
            return
        begun = time.monotonic()
        self.model.causal.eval()
        with torch.no_grad():
            total = sum(float(self.model.loss_sum(row)) for row in self.evaluation)
        self.model.causal.train()
        loss = total / sum(len(row.targets) for row in self.evaluation)
        self.tally.eval_loss = self.meter.eval_loss = loss
        if self.step == 0:
            self.tally.first_eval_loss = loss
        self.meter.evaluation_seconds = time.monotonic() - begun
        self.meter.evaluations_left = self._evaluations_after(self.step)
        epoch = self.step / self.order.steps_per_epoch
        self.reporter.event("evaluated", step=self.step, epoch=epoch, eval_loss=loss)
        self.reporter.line(f"step {self.step}  epoch {epoch:.2f}  validation loss {loss:.4f}")

    def _evaluations_after(self, step: int) -> int:
        every = {"epoch": self.order.steps_per_epoch, "steps": self.parameters.eval_steps}
        interval = every.get(self.parameters.evaluation_strategy)
        return 0 if interval is None else -(-(self.max_steps - step) // interval)

    def _announce(self) -> None:
        trained = sum(weight.numel() for weight in self.optimizer.weights.values())
        if self.step:
            message = f"Going on from the checkpoint of step {self.step}."
            self.reporter.event("notice", message=message)
            self.reporter.line(message)
        for message in [] if self.step else self.samples.notices:
            self.reporter.event("notice", message=message)
            self.reporter.line(message)
        self.reporter.event(
            "started",
            max_steps=self.max_steps,
            parameters_trained=trained,
            tokens_per_epoch=self.samples.tokens,
            truncated=self.samples.truncated,
            dropped=self.samples.dropped,
        )
        self.reporter.line(
            f"{len(self.samples)} conversations, {self.samples.tokens} tokens an epoch, "
            f"{self.samples.truncated} truncated, {self.samples.dropped} dropped; "
            f"{self.max_steps} steps, {trained:,} weights trained"
        )

    def _save(self, *, epoch_end: bool) -> None:
        begun = time.monotonic()
        tensors, numbers = self.optimizer.state()
        tensors["random|torch"] = torch.get_rng_state()
        state = {
            "identity": self.plan.identity,
            "threads": torch.get_num_threads(),
            "numbers": numbers,
            "tally": {name: getattr(self.tally, name) for name in _Tally.__slots__},
        }
        self.checkpoints.save(Checkpoint(self.step, epoch_end, state, tensors))
        self.reporter.event("checkpoint", step=self.step)
        self.clock.saved_at = time.monotonic()
        self.clock.cost = self.clock.saved_at - begun

    def _resume(self) -> None:
        if not self.parameters.resume_from_checkpoint:
            self.checkpoints.clear()
            return
        found = self.checkpoints.latest()
        if found is None:
            return
        if found.state["identity"] != self.plan.identity:
            raise Conflict(
                f"The checkpoints in {self.checkpoints.path} are of a run with other data, "
                "parameters or model.",
                remedy="Start a new job, or set resume_from_checkpoint=false to begin afresh.",
            )
        tensors = dict(found.tensors)
        torch.set_rng_state(tensors.pop("random|torch"))
        # Products are split by thread: another number of threads would round differently.
        torch.set_num_threads(int(found.state["threads"]))
        self.optimizer.restore(tensors, found.state["numbers"])
        self.step = found.step
        self.tally = _Tally(**found.state["tally"])
        self.meter.tokens = self.tally.tokens
        self.meter.eval_loss = self.tally.eval_loss
