"""The training loop: `train(spec, reporter, checkpoints)`."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field

import torch

from phoundry.data import ChatTokenizer
from phoundry.errors import Conflict
from phoundry.training import machine
from phoundry.training.batch import Row, make_row, rows_of_step
from phoundry.training.checkpoint import Checkpoint, CheckpointFolder
from phoundry.training.estimate import ModelShape, check_memory, estimate_memory
from phoundry.training.examples import Messages, Samples, read_samples
from phoundry.training.model import TunedModel, read_config
from phoundry.training.optimizer import MasterOptimizer
from phoundry.training.packing import EpochOrder, pack
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
        self.parameters = spec.parameters
        self.spec = spec
        config = read_config(spec.checkpoint_dir)
        self.samples, self.validation = _read(spec, config)
        capacity = _capacity(self.samples, spec)
        p = self.parameters
        self.order = EpochOrder(
            self.samples.lengths,
            capacity=capacity if p.packing else None,
            batch=p.per_device_train_batch_size * p.gradient_accumulation_steps,
            seed=p.seed,
        )
        self.max_steps = _max_steps(spec, self.order.steps_per_epoch)
        _check_fits(spec, config, capacity)
        torch.set_num_threads(machine.cores())
        torch.manual_seed(p.seed)
        torch.use_deterministic_algorithms(p.enable_full_determinism)
        self.model = TunedModel(spec.checkpoint_dir, p)
        self.optimizer = MasterOptimizer(self.model.trainable(), p)
        self.evaluation = _evaluation_rows(self.validation, capacity, p.per_device_eval_batch_size)
        self.step = 0
        self.tally = _Tally()
        self.clock = _Clock()
        self.identity = _identity(spec, self.samples)
        total = round(self.samples.tokens * self.max_steps / self.order.steps_per_epoch)
        self.meter = Meter(self.max_steps, total, reporter, p.logging_steps)

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
        rows = rows_of_step(packs, self.samples.kept, self.parameters.per_device_train_batch_size)
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
        if not self.evaluation or self.parameters.evaluation_strategy == "disable":
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
        self.reporter.event(
            "started",
            max_steps=self.max_steps,
            parameters_trained=trained,
            tokens_per_epoch=self.samples.tokens,
            truncated=self.samples.truncated,
            dropped=self.samples.dropped,
        )
        self.reporter.line(
            f"{len(self.samples.kept)} conversations, {self.samples.tokens} tokens an epoch, "
            f"{self.samples.truncated} truncated, {self.samples.dropped} dropped; "
            f"{self.max_steps} steps, {trained:,} weights trained"
        )

    def _save(self, *, epoch_end: bool) -> None:
        begun = time.monotonic()
        tensors, numbers = self.optimizer.state()
        tensors["random|torch"] = torch.get_rng_state()
        state = {
            "identity": self.identity,
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
        if found.state["identity"] != self.identity:
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


def _read(spec: TrainingSpec, config: dict[str, object]) -> tuple[Samples, Samples | None]:
    tokenizer = ChatTokenizer.load(spec.checkpoint_dir)

    def render(messages: Messages) -> tuple[list[int], list[bool]]:
        example = tokenizer.render_example(messages)
        return list(example.token_ids), list(example.loss_mask)

    longest = ModelShape.from_config(config).context_length
    if spec.parameters.max_seq_length > 0:
        longest = min(longest, spec.parameters.max_seq_length)
    samples = read_samples(spec.train_path, render, longest=longest)
    if spec.validation_path is None:
        return samples, None
    return samples, read_samples(spec.validation_path, render, longest=longest)


def _capacity(samples: Samples, spec: TrainingSpec) -> int:
    """Tokens of a pack: as asked, or the longest conversation where that is more."""
    return max(spec.parameters.pack_length, *samples.lengths)


def _max_steps(spec: TrainingSpec, steps_per_epoch: int) -> int:
    p = spec.parameters
    return p.max_steps if p.max_steps > 0 else max(1, round(steps_per_epoch * p.num_train_epochs))


def _evaluation_rows(validation: Samples | None, capacity: int, packs_per_row: int) -> list[Row]:
    if validation is None:
        return []
    packs = pack(validation.lengths, max(capacity, *validation.lengths))
    rows = [packs[i : i + packs_per_row] for i in range(0, len(packs), packs_per_row)]
    return [make_row(validation.kept[i] for members in row for i in members) for row in rows]


def _identity(spec: TrainingSpec, samples: Samples) -> str:
    """What must be the same for a checkpoint to be gone on from."""
    changeable = {"resume_from_checkpoint", "save_total_limit", "logging_steps"}
    parts = {
        "parameters": spec.parameters.model_dump(exclude=changeable),
        "data": samples.fingerprint(),
        "model": (spec.checkpoint_dir / "config.json").read_text(encoding="utf-8"),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _check_fits(spec: TrainingSpec, config: dict[str, object], capacity: int) -> None:
    row = capacity * spec.parameters.per_device_train_batch_size
    estimate = estimate_memory(ModelShape.from_config(config), spec.parameters, row_tokens=row)
    available = machine.available_memory()
    if spec.memory_limit is not None:
        available = min(available, spec.memory_limit)
    check_memory(estimate, available)
