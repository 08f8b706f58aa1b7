"""Linear layers that are computed as one, with adapters that are views of wide matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from phoundry.training.decoder.projection import Projection, diagonal

SIZES = {"q": 6, "k": 2, "v": 4}


def made() -> tuple[Projection, dict[str, Tensor]]:
    torch.manual_seed(3)
    tensors = {f"{name}.weight": torch.randn(size, 5) for name, size in SIZES.items()}
    projection = Projection(list(SIZES), tensors)
    weights = projection.add_adapter(2, 6.0, 0.0)
    for name, weight in weights.items():
        if "lora_B" in name:
            weight.data.copy_(torch.randn(weight.shape))
    return projection, tensors | dict(weights)


def apart(x: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """The same, a layer after the other."""
    return torch.cat(
        [
            x @ tensors[f"{name}.weight"].T
            + 3.0 * (x @ tensors[f"{name}.lora_A.weight"].T) @ tensors[f"{name}.lora_B.weight"].T
            for name in SIZES
        ],
        dim=1,
    )


def test_one_product_is_those_of_the_layers() -> None:
    projection, tensors = made()
    x = torch.randn(7, 5, requires_grad=True)
    adapters = [tensors[name] for name in tensors if "lora" in name]
    g = torch.randn(7, 12)
    expected = torch.autograd.grad(apart(x, tensors), [x, *adapters], g)
    y = projection(x)
    torch.testing.assert_close(y, apart(x, tensors))
    found = torch.autograd.grad(y, [x, *adapters], g)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_adapters_are_blocks_along_the_diagonal() -> None:
    projection, tensors = made()
    adapter = projection.adapter
    assert adapter is not None
    blocks = [tensors[f"{name}.lora_B.weight"] for name in SIZES]
    whole = torch.zeros(12, 6)
    whole[:6, :2], whole[6:8, 2:4], whole[8:, 4:] = blocks
    assert torch.equal(adapter.up, whole)
    views = diagonal(adapter.up, list(SIZES.values()))
    assert [each.data_ptr() for each in views] == [each.data_ptr() for each in blocks]
