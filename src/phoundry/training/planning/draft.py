"""The part of a plan that the data and the parameters settle: conversations, packs, steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice

from phoundry.specs.finetune import FineTuneParameters
from phoundry.training import device
from phoundry.training.batch import Row, rows_of_step
from phoundry.training.decoder.architecture import Architecture, read_config
from phoundry.training.examples import Samples, read_samples
from phoundry.training.packing import EpochOrder
from phoundry.training.planning.estimate import (
    USUAL_ROW,
    estimate_memory,
    heaviest_segment,
)
from phoundry.training.planning.flops import flops_per_token, mean_segment
from phoundry.training.planning.rows import Rows
from phoundry.training.planning.shape import ModelShape
from phoundry.training.spec import TrainingSpec

# Conversations that show how much is shared, and how rows differ.
LOOKED_AT = 512


@dataclass(frozen=True)
class Draft:
    """`capacity` is the tokens of a pack: as asked, or the longest conversation's if that is more.

    `parameters` are as the user and the models resolved them: nothing is measured yet. `share`:
    what conversations begin with alike is computed once a row (prefixes.py).
    """

    parameters: FineTuneParameters
    shape: ModelShape
    samples: Samples
    validation: Samples | None
    capacity: int
    order: EpochOrder
    max_steps: int
    share: bool
    _rows: dict[int, Rows] = field(default_factory=dict[int, Rows], init=False, compare=False)

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
    def computed_share(self) -> float:
        """Tokens that are computed for each that is trained, in rows of the usual length: fewer
        than 1 where conversations begin alike."""
        return self.rows(USUAL_ROW).computed_share

    def rows(self, row_tokens: int) -> Rows:
        """How the first steps come in rows of `row_tokens`."""
        if row_tokens not in self._rows:
            found: list[Row] = []
            for packs in islice(self._some_steps(), self.max_steps):
                found += rows_of_step(packs, self.samples, row_tokens, share=self.share)
            self._rows[row_tokens] = Rows.of(found)
        return self._rows[row_tokens]

    def evaluated_rows(self, row_tokens: int) -> Rows:
        """How the first conversations that are held out come in rows.

        Raises:
            ValueError: none are.
        """
        if self.validation is None:
            raise ValueError("nothing is held out")
        first = self.validation[:LOOKED_AT]
        together = [list(range(len(first)))]
        return Rows.of(rows_of_step(together, first, row_tokens, share=self.share))

    def _some_steps(self) -> Iterator[list[list[int]]]:
        """The first steps of the first epoch, of so many conversations as are looked at."""
        seen = 0
        for packs in self.order.steps(0):
            yield packs
            seen += sum(map(len, packs))
            if seen >= LOOKED_AT:
                return

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
            computed_share=self.computed_share,
        )

    def memory(
        self, row_tokens: int, *, recompute: bool, parameters: FineTuneParameters | None = None
    ) -> int:
        """Estimated peak bytes with rows of `row_tokens`, and no row shorter than it must be."""
        rows = self.rows(row_tokens)
        row = max(self.longest, rows.longest)
        return estimate_memory(
            self.shape,
            parameters or self.parameters,
            row_tokens=row,
            segment=max(heaviest_segment(self.samples.lengths, row), rows.pairs / row),
            gathered=rows.gathered,
            sizes=rows.sizes,
            recompute=recompute,
        )


def make_draft(spec: TrainingSpec, say: Callable[[str], None] | None = None) -> Draft:
    """Read and render the data and lay out the steps. `say` hears how far the rendering is.

    Raises:
        NotFound, InvalidInput: the checkpoint or the data can't be used.
    """
    p = spec.parameters
    config = read_config(spec.checkpoint_dir)
    shape, architecture = ModelShape.from_config(config), Architecture.from_config(config)
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
    max_steps = p.steps(order.steps_per_epoch)
    lengths = samples.lengths if validation is None else samples.lengths + validation.lengths
    share = device.chosen().type == "cpu" and architecture.turns_alike(max(lengths))
    return Draft(p, shape, samples, validation, capacity, order, max_steps, share)
