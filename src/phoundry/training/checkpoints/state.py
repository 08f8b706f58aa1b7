"""What a checkpoint keeps beside weights and optimizer, and torch's random state."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from phoundry.training.evaluation.stopping import Standing

_CPU, _CUDA = "random|torch", "random|cuda"


@dataclass(slots=True)
class Tally:
    """Sums and results so far. A run that was killed ends with the same ones as one that was not.

    There is no position of a sampler and no scheduler here: the order of the conversations and the
    learning rate are functions of the step.
    """

    tokens: int = 0
    loss_sum: float = 0.0  # of the epoch under way
    targets: int = 0
    last_epoch_loss: float | None = None
    logged_loss_sum: float = 0.0  # since the last entry of the curves
    logged_targets: int = 0
    evaluated_step: int | None = None
    first: dict[str, float] = field(default_factory=dict[str, float])  # the base model's evaluation
    evaluated: dict[str, float] = field(default_factory=dict[str, float])  # the latest evaluation
    best: dict[str, float] = field(default_factory=dict[str, float])  # the best one
    standing: Standing = field(default_factory=Standing)

    def add(self, *, tokens: int, targets: int, loss_sum: float) -> None:
        """Take in one optimizer step."""
        self.tokens += tokens
        self.loss_sum += loss_sum
        self.targets += targets
        self.logged_loss_sum += loss_sum
        self.logged_targets += targets

    def close_epoch(self) -> None:
        self.last_epoch_loss = self.loss_sum / max(1, self.targets)
        self.loss_sum, self.targets = 0.0, 0

    def epoch_loss(self) -> float:
        """Mean loss of the last epoch that was trained, whole or not."""
        if self.targets:
            return self.loss_sum / self.targets
        return self.last_epoch_loss or 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Tally:
        read: dict[str, Any] = {**values, "standing": Standing(**values["standing"])}
        return cls(**read)


def random_state(device: torch.device | None = None) -> dict[str, Tensor]:
    """Of torch on the CPU, and of `device` where that is a GPU: dropout draws there."""
    state = {_CPU: torch.get_rng_state()}
    if device is not None and device.type == "cuda":
        state[_CUDA] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Tensor], device: torch.device | None = None) -> None:
    """Put back what `random_state` gave."""
    torch.set_rng_state(state[_CPU])
    if device is not None and device.type == "cuda" and _CUDA in state:
        torch.cuda.set_rng_state(state[_CUDA], device)


def split_random_state(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A checkpoint's tensors as (random state, all others)."""
    random = {name: tensors[name] for name in (_CPU, _CUDA) if name in tensors}
    return random, {name: tensor for name, tensor in tensors.items() if name not in random}
