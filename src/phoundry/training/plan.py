"""What a fine-tune will do, settled before the model is loaded: samples, packs, steps, memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from phoundry.training import machine
from phoundry.training.batch import Row, make_row
from phoundry.training.estimate import ModelShape, check_memory, estimate_memory
from phoundry.training.examples import Samples, read_samples
from phoundry.training.model import read_config
from phoundry.training.packing import EpochOrder, pack
from phoundry.training.spec import TrainingSpec

# A run may be gone on from with these changed: they don't touch the weights.
_HARMLESS = {"resume_from_checkpoint", "save_total_limit", "logging_steps"}


@dataclass(frozen=True, slots=True)
class Plan:
    """`capacity` is the tokens of a pack: as asked, or the longest conversation's if that is more.

    `identity` is the same for two runs exactly if their weights come out the same on one machine.
    """

    samples: Samples
    validation: Samples | None
    capacity: int
    order: EpochOrder
    max_steps: int
    memory: int  # bytes, estimated peak
    identity: str

    @property
    def tokens(self) -> int:
        """Of the whole run."""
        return round(self.samples.tokens * self.max_steps / self.order.steps_per_epoch)

    def evaluation_rows(self, packs_per_row: int) -> list[Row]:
        """The validation set, packed too; it is short, so its rows are kept."""
        if self.validation is None:
            return []
        held, lengths = self.validation, self.validation.lengths
        packs = pack(lengths, max(self.capacity, *lengths))
        rows = [packs[i : i + packs_per_row] for i in range(0, len(packs), packs_per_row)]
        return [make_row(held[i] for members in row for i in members) for row in rows]


def make_plan(spec: TrainingSpec, say: Callable[[str], None] | None = None) -> Plan:
    """Read and render the data, lay out the steps, and check that the run fits the memory.

    `say` hears how far the rendering is.

    Raises:
        NotFound, InvalidInput: the checkpoint or the data can't be used.
        InsufficientResources: the estimate exceeds the memory there is.
    """
    p = spec.parameters
    shape = ModelShape.from_config(read_config(spec.checkpoint_dir))
    longest = shape.context_length
    if p.max_seq_length > 0:
        longest = min(longest, p.max_seq_length)
    read = partial(
        read_samples,
        checkpoint_dir=spec.checkpoint_dir,
        longest=longest,
        cache_dir=spec.cache_dir,
        say=say,
    )
    samples = read(spec.train_path)
    validation = None
    if spec.validation_path is not None and p.evaluation_strategy != "disable":
        validation = read(spec.validation_path)
    capacity = max([p.pack_length, *samples.lengths] if p.packing else samples.lengths)
    order = EpochOrder(
        samples.lengths,
        capacity=capacity if p.packing else None,
        batch=p.per_device_train_batch_size * p.gradient_accumulation_steps,
        seed=p.seed,
    )
    memory = estimate_memory(shape, p, row_tokens=_longest_row(samples, capacity, spec))
    check_memory(memory, _memory_to_plan_with(spec))
    by_epochs = max(1, round(order.steps_per_epoch * p.num_train_epochs))
    max_steps = p.max_steps if p.max_steps > 0 else by_epochs
    return Plan(samples, validation, capacity, order, max_steps, memory, _identity(spec, samples))


def _longest_row(samples: Samples, capacity: int, spec: TrainingSpec) -> int:
    """Tokens of the largest forward pass there can be."""
    return min(capacity * spec.parameters.per_device_train_batch_size, samples.tokens)


def _memory_to_plan_with(spec: TrainingSpec) -> int:
    available = machine.available_memory()
    return available if spec.memory_limit is None else min(available, spec.memory_limit)


def _identity(spec: TrainingSpec, samples: Samples) -> str:
    parts = {
        "parameters": spec.parameters.model_dump(exclude=_HARMLESS),
        "data": samples.fingerprint(),
        "model": (spec.checkpoint_dir / "config.json").read_text(encoding="utf-8"),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
