"""What a fine-tune will do, settled before its first step: packs, steps, memory, choices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.batch import Row, rows_of_step
from phoundry.training.examples import Samples
from phoundry.training.packing import EpochOrder
from phoundry.training.planning.choices import Choices, load_choices, save_choices
from phoundry.training.planning.choose import apply_choices, choose
from phoundry.training.planning.draft import Draft, make_draft
from phoundry.training.spec import TrainingSpec

__all__ = ["Choices", "Plan", "load_choices", "make_plan", "save_choices"]


@dataclass(frozen=True)
class Plan:
    """A draft with its choices.

    `parameters` are those of the run: what was measured has replaced what was only recommended, and
    `sources` says so. `memory` is the estimated peak in bytes.
    """

    draft: Draft
    choices: Choices
    parameters: FineTuneParameters
    sources: dict[str, str]
    memory: int

    @property
    def samples(self) -> Samples:
        return self.draft.samples

    @property
    def validation(self) -> Samples | None:
        return self.draft.validation

    @property
    def capacity(self) -> int:
        """Tokens of a pack: as asked, or the longest conversation's if that is more."""
        return self.draft.capacity

    @property
    def order(self) -> EpochOrder:
        return self.draft.order

    @property
    def max_steps(self) -> int:
        return self.draft.max_steps

    @property
    def tokens(self) -> int:
        """Of the whole run."""
        return self.draft.tokens

    @property
    def flops_per_token(self) -> float:
        """Operations that a trained token needs (flops.py)."""
        return self.draft.flops_per_token()

    def evaluation_rows(self, row_tokens: int) -> list[Row]:
        """The validation set in rows of at most `row_tokens`; it is short, so its rows are kept.

        A conversation longer than that gets a row of its own.
        """
        if self.validation is None:
            return []
        held = self.validation
        return rows_of_step([range(len(held))], held, row_tokens, share=self.draft.share)


def make_plan(
    spec: TrainingSpec,
    say: Callable[[str], None] | None = None,
    *,
    choices: Choices | None = None,
) -> Plan:
    """Read and render the data, lay out the steps, and choose what the machine does best.

    A few real steps are run where the run is long enough to be worth them; torch's random state is
    as before afterwards. `say` hears how far the rendering is and what is measured.

    Args:
        choices: of the run that is gone on with; nothing is chosen again.

    Raises:
        NotFound, InvalidInput: the checkpoint or the data can't be used.
        InsufficientResources: the estimate exceeds the memory there is; it names what would fit.
    """
    draft = make_draft(spec, say)
    return settle(spec, draft, choices or choose(spec, draft, say))


def settle(spec: TrainingSpec, draft: Draft, choices: Choices) -> Plan:
    """`draft` with `choices`."""
    parameters, sources = apply_choices(draft.parameters, spec.sources, choices)
    memory = draft.memory(choices.row_tokens, recompute=choices.recompute, parameters=parameters)
    return Plan(draft, choices, parameters, sources, memory)
