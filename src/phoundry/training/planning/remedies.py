"""What would fit when a fine-tune does not: settings with their bytes. No torch here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from phoundry.errors import InsufficientResources
from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.planning.estimate import USUAL_SIZES, estimate_memory, heaviest_segment
from phoundry.training.planning.shape import ModelShape

# No row needs to be shorter than this to save memory: the weights count for more.
SHORTEST_ROW = 256
_SHORTER = (2048, 1024, 512, 256)
_LOWER_RANKS = (8, 4)


@dataclass(frozen=True)
class Remedy:
    """Settings to change, and the estimated peak with them."""

    settings: dict[str, Any]
    bytes: int
    note: str = ""

    def __str__(self) -> str:
        said = ", ".join(f"{name}={_written(value)}" for name, value in self.settings.items())
        return f"{said}: {self.bytes / 1e9:.1f} GB{self.note}"


@dataclass(frozen=True)
class Needs:
    """The least memory of a fine-tune as a function of its settings.

    `lengths`: tokens of each conversation, where they are known. `sizes`: see `estimate_memory`.
    """

    shape: ModelShape
    parameters: FineTuneParameters
    lengths: Sequence[int] = ()
    sizes: int = USUAL_SIZES

    def least(self, changes: dict[str, Any] | None = None) -> int:
        """Estimated peak bytes with `changes`, in the shortest rows the data allow."""
        p = FineTuneParameters.model_validate({**self.parameters.model_dump(), **(changes or {})})
        lengths = self.lengths
        if p.max_seq_length > 0:
            lengths = [min(length, p.max_seq_length) for length in lengths]
        row = max([SHORTEST_ROW, *lengths])
        segment = heaviest_segment(lengths, row)
        return estimate_memory(
            self.shape,
            p,
            row_tokens=row,
            segment=segment,
            sizes=self.sizes,
            recompute=p.gradient_checkpointing != "false",
        )

    def cut(self, most: int) -> int:
        """Conversations of more than `most` tokens."""
        return sum(length > most for length in self.lengths)


def what_would_fit(needs: Needs, available: int) -> list[Remedy]:
    """Single settings that fit `available` bytes; where none does, the fewest together that do."""
    single = [found for change in _changes(needs) if (found := _remedy(needs, change, available))]
    if single:
        return single
    together: dict[str, Any] = {}
    for change in _changes(needs):
        kept = {name: value for name, value in change.items() if name not in together}
        together |= kept
        if found := _remedy(needs, together, available):
            return [found]
    return []


def check_fits(needs: Needs, available: int) -> None:
    """Raises InsufficientResources, with what would fit, where nothing the plan may do does."""
    if needs.least() > available:
        raise too_large(needs, available)


def too_large(needs: Needs, available: int) -> InsufficientResources:
    """The refusal of a fine-tune that does not fit, with what would."""
    remedies = what_would_fit(needs, available)
    listed = "; or ".join(str(remedy) for remedy in remedies)
    return InsufficientResources(
        f"Training needs about {needs.least() / 1e9:.1f} GB of memory, "
        f"{available / 1e9:.1f} GB can be had.",
        remedy=f"This would fit: {listed}."
        if remedies
        else "No setting makes it fit: choose a smaller model, or stop what else runs.",
    )


def _changes(needs: Needs) -> Iterator[dict[str, Any]]:
    """What may be changed, what costs least first."""
    p, longest = needs.parameters, max(needs.lengths, default=0)
    if p.gradient_checkpointing == "false":
        yield {"gradient_checkpointing": "true"}
    if p.precision == "32":
        yield {"precision": "16"}
    for most in _SHORTER:
        if most < longest:
            yield {"max_seq_length": most}
    if not p.apply_lora:
        yield {"apply_lora": True}
        if p.optim != "adafactor":
            yield {"optim": "adafactor"}
    for rank in _LOWER_RANKS:
        if p.apply_lora and rank < p.lora_r:
            yield {"lora_r": rank}


def _remedy(needs: Needs, changes: dict[str, Any], available: int) -> Remedy | None:
    size = needs.least(changes)
    if size > available:
        return None
    most = changes.get("max_seq_length")
    note = f" ({needs.cut(most):,} conversations would be cut)" if most else ""
    return Remedy(dict(changes), size, note)


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
