"""The part of a plan that the data and the parameters settle: conversations, packs, steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.decoder.architecture import read_config
from phoundry.training.examples import Samples, read_samples
from phoundry.training.packing import EpochOrder
from phoundry.training.planning.estimate import estimate_memory, heaviest_segment
from phoundry.training.planning.flops import flops_per_token, mean_segment
from phoundry.training.planning.shape import ModelShape
from phoundry.training.spec import TrainingSpec


@dataclass(frozen=True)
class Draft:
    """`capacity` is the tokens of a pack: as asked, or the longest conversation's if that is more.

    `parameters` are as the user and the models resolved them: nothing is measured yet.
    """

    parameters: FineTuneParameters
    shape: ModelShape
    samples: Samples
    validation: Samples | None
    capacity: int
    order: EpochOrder
    max_steps: int

    @property
    def tokens(self) -> int:
        """Of the whole run."""
        return round(self.samples.tokens * self.max_steps / self.order.steps_per_epoch)

    @property
    def epochs(self) -> float:
        return self.max_steps / self.order.steps_per_epoch

    @property
    def step_tokens(self) -> int:
        """Most tokens of one optimizer step."""
        return min(self.capacity * self.order.batch, self.samples.tokens)

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest conversation that is trained on."""
        return max(self.samples.lengths)

    @cached_property
    def mean_segment(self) -> float:
        """Σs²/Σs of the conversations trained on."""
        return mean_segment(self.samples.lengths)

    @property
    def supervised_share(self) -> float:
        return self.samples.supervised / self.samples.tokens

    def flops_per_token(self) -> float:
        """Operations of a trained token (flops.py)."""
        return flops_per_token(
            self.shape,
            self.parameters,
            supervised_share=self.supervised_share,
            mean_segment=self.mean_segment,
        )

    def memory(
        self, row_tokens: int, *, recompute: bool, parameters: FineTuneParameters | None = None
    ) -> int:
        """Estimated peak bytes with rows of `row_tokens`, and no row shorter than it must be."""
        row = max(self.longest, min(row_tokens, self.step_tokens))
        return estimate_memory(
            self.shape,
            parameters or self.parameters,
            row_tokens=row,
            segment=heaviest_segment(self.samples.lengths, row),
            recompute=recompute,
        )


def make_draft(spec: TrainingSpec, say: Callable[[str], None] | None = None) -> Draft:
    """Read and render the data and lay out the steps. `say` hears how far the rendering is.

    Raises:
        NotFound, InvalidInput: the checkpoint or the data can't be used.
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
        truncation=p.truncation,
        workers=p.dataloader_num_workers,
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
    by_epochs = max(1, round(order.steps_per_epoch * p.num_train_epochs))
    max_steps = p.max_steps if p.max_steps > 0 else by_epochs
    return Draft(p, shape, samples, validation, capacity, order, max_steps)
