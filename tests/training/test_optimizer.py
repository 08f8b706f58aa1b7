"""The optimizer over masters, for weights that are whole and for views of others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.optimizer import MasterOptimizer


def stepped(weight: nn.Parameter, optim: str) -> Tensor:
    """`weight` after three steps with gradients that differ from entry to entry."""
    parameters = FineTuneParameters.model_validate({"optim": optim, "learning_rate": 0.1})
    optimizer = MasterOptimizer({"weight": weight}, parameters)
    for number in range(3):
        grid = torch.arange(weight.numel()).view(weight.shape)
        torch.autograd.backward((weight * (grid - 2.5 * number)).sum())
        optimizer.collect()
        optimizer.step(0.1)
    return weight.detach().clone()


@pytest.mark.parametrize("optim", ["adamw_torch", "adafactor"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_view_of_columns_is_stepped_like_a_whole_weight(optim: str, dtype: torch.dtype) -> None:
    wide = torch.zeros(4, 6, dtype=dtype)
    view = stepped(nn.Parameter(wide[:2, 3:]), optim)
    assert torch.equal(view, stepped(nn.Parameter(torch.zeros(2, 3, dtype=dtype)), optim))
    assert torch.equal(wide[:2, 3:], view)
    wide[:2, 3:] = 0
    assert not wide.any()  # nothing else was touched


def test_what_is_kept_goes_on_where_it_was() -> None:
    parameters = FineTuneParameters.model_validate({"learning_rate": 0.1})
    first, second = torch.zeros(4, 6), torch.zeros(4, 6)
    one = MasterOptimizer({"weight": nn.Parameter(first[:, :2])}, parameters)
    other = MasterOptimizer({"weight": nn.Parameter(second[:, :2])}, parameters)
    one.weights["weight"].grad = torch.ones(4, 2)
    one.collect()
    one.step(0.1)
    tensors, numbers = one.state()
    other.restore({name: tensor.clone() for name, tensor in tensors.items()}, numbers)
    for optimizer in (one, other):
        optimizer.weights["weight"].grad = torch.full((4, 2), -0.5)
        optimizer.collect()
        optimizer.step(0.1)
    assert first[:, :2].all()
    assert torch.equal(first, second)
