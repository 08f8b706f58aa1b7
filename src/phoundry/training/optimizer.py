"""The optimizer over float32 masters, and its state as plain tensors and numbers.

Weights may be bfloat16, whose 8 bits of precision swallow small updates. So every trainable weight
has a float32 master: gradients are added up into it in float32, the optimizer steps it, and the
weight is its rounding. A float32 weight is its own master, unless it is a view of columns: torch's
fused AdamW takes every weight for one block of memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from phoundry.specs.finetune import FineTuneParameters


class MasterOptimizer:
    """adamw_torch or adafactor over `weights`.

    Matrices decay, vectors (norms, biases) don't, as in transformers' Trainer. Adafactor runs
    without relative steps and without scaling by the parameter, as there.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], parameters: FineTuneParameters) -> None:
        self.weights = dict(weights)
        self.masters = {name: _master(weight) for name, weight in weights.items()}
        self.max_norm = parameters.max_grad_norm
        self.optimizer = _optimizer(list(self.masters.values()), parameters)

    def collect(self) -> None:
        """Add the weights' gradients to the masters' and drop them. Call after each backward."""
        for name, weight in self.weights.items():
            master = self.masters[name]
            if master is weight or weight.grad is None:
                continue
            if master.grad is None:
                master.grad = weight.grad.float()
            else:
                master.grad.add_(weight.grad)
            weight.grad = None

    def step(self, learning_rate: float) -> float:
        """Clip, step, round into the weights, drop gradients. Returns the norm before clipping."""
        masters = list(self.masters.values())
        gradients = [master.grad for master in masters if master.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if self.max_norm > 0:
            nn.utils.clip_grads_with_norm_(masters, self.max_norm, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._round()
        return float(norm)

    def state(self) -> tuple[dict[str, Tensor], dict[str, float | int]]:
        """Masters and optimizer state: tensors by `name|key`, plain numbers the same way."""
        tensors: dict[str, Tensor] = {name: m.detach() for name, m in self.masters.items()}
        numbers: dict[str, float | int] = {}
        for name, master in self.masters.items():
            for key, value in self.optimizer.state.get(master, {}).items():
                if isinstance(value, Tensor):
                    tensors[f"{name}|{key}"] = value.contiguous()
                elif isinstance(value, int | float):
                    numbers[f"{name}|{key}"] = value
        return tensors, numbers

    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, float | int]) -> None:
        """Put back what `state` gave.

        Raises:
            KeyError: a weight is missing.
        """
        by_weight: dict[str, dict[str, Any]] = {name: {} for name in self.masters}
        for full, value in [*tensors.items(), *numbers.items()]:
            name, _, key = full.partition("|")
            if key:
                by_weight[name][key] = value
        with torch.no_grad():
            for name, master in self.masters.items():
                master.copy_(tensors[name])
                if by_weight[name]:
                    self.optimizer.state[master] = by_weight[name]
        self._round()

    @torch.no_grad()
    def _round(self) -> None:
        for name, weight in self.weights.items():
            if self.masters[name] is not weight:
                weight.copy_(self.masters[name])


def _master(weight: nn.Parameter) -> nn.Parameter:
    if weight.dtype == torch.float32 and weight.is_contiguous():
        return weight
    return nn.Parameter(weight.detach().clone(memory_format=torch.contiguous_format).float())


def _optimizer(
    masters: list[nn.Parameter], parameters: FineTuneParameters
) -> torch.optim.Optimizer:
    groups = [
        {
            "params": [m for m in masters if m.ndim >= 2],
            "weight_decay": parameters.weight_decay,
        },
        {"params": [m for m in masters if m.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if parameters.optim == "adafactor":
        from transformers.optimization import Adafactor

        factory = cast(Any, Adafactor)
        return factory(
            groups, lr=parameters.learning_rate, scale_parameter=False, relative_step=False
        )
    return torch.optim.AdamW(
        groups,
        lr=parameters.learning_rate,
        betas=(parameters.adam_beta1, parameters.adam_beta2),
        eps=parameters.adam_epsilon,
        fused=True,
    )
