"""The element-wise parts of a decoder, each with its backward pass written out.

They keep for the backward pass only what they were given, and touch memory a few times less than
the same formulas left to autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import gelu, silu


def rms_norm(x: Tensor, weight: Tensor, eps: float, *, offset: float = 0.0) -> Tensor:
    """x / √(mean x² + eps) · (offset + weight), computed in float32 (Zhang and Sennrich 2019).

    Args:
        x: (…, width). weight: (width,). offset: 1 in Gemma, else 0.
    """
    return cast(Tensor, _RmsNorm.apply(x, weight, eps, offset))


def gated(x: Tensor, activation: str) -> Tensor:
    """activation(gate) · up, where x (tokens, 2 · inner) holds gate and up side by side."""
    return cast(Tensor, _Gated.apply(x, activation))


@contextmanager
def remade(tensor: Tensor, again: Callable[[], Tensor]) -> Generator[None]:
    """What is computed in the block keeps `again` for its backward pass, and not `tensor`.

    For what takes less time to make than its memory is worth: `again` must give the same bits.
    """

    def pack(saved: Tensor) -> Tensor | Callable[[], Tensor]:
        alike = saved.shape == tensor.shape and saved.data_ptr() == tensor.data_ptr()
        return again if alike and saved.numel() else saved  # all empty ones have one address

    def unpack(kept: Tensor | Callable[[], Tensor]) -> Tensor:
        return kept if isinstance(kept, Tensor) else kept()

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield


def pieces(x: Tensor, sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of `x`, so many entries of `dim` in each."""
    return cast(tuple[Tensor, ...], x.split(list(sizes), dim))


class _RmsNorm(torch.autograd.Function):
    """With r = 1/√(mean x² + eps), u = g·w and n the width: dx = r·u − x·r³/n·Σ(u·x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, offset: float) -> Tensor:
        wide = x.float()
        norm = cast(Tensor, torch.linalg.vector_norm(wide, dim=-1, keepdim=True))
        r = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, r)
        ctx.offset = offset
        return (wide * r).mul_(_scale(weight, offset)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, r = ctx.saved_tensors
        g, wide = gradients[0].float(), x.float()
        d_weight = None
        if ctx.needs_input_grad[1]:
            d_weight = (g * wide).mul_(r).flatten(0, -2).sum(0).to(weight.dtype)
        u = g * _scale(weight, ctx.offset)
        along = cast(Tensor, torch.linalg.vecdot(u, wide)).unsqueeze(-1)
        along.mul_(r).mul_(r).mul_(r).div_(-x.shape[-1])
        d_x = u.mul_(r).addcmul_(wide, along)
        return d_x.to(x.dtype), d_weight, None, None


def _scale(weight: Tensor, offset: float) -> Tensor:
    wide = weight.float()
    return wide + offset if offset else wide


class _Gated(torch.autograd.Function):
    """dgate = (g · up) · activation′(gate), dup = g · activation(gate)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: str) -> Tensor:
        gate, up = x.chunk(2, dim=-1)
        ctx.save_for_backward(x)
        ctx.activation = activation
        return _activate(gate, activation).mul_(up)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        g = gradients[0]
        gate, up = x.chunk(2, dim=-1)
        d_x = torch.empty_like(x)
        d_gate, d_up = d_x.chunk(2, dim=-1)
        torch.mul(g, _activate(gate, ctx.activation), out=d_up)
        inner = g * up
        if ctx.activation == "silu":
            torch.ops.aten.silu_backward.grad_input(inner, gate, grad_input=d_gate)
        else:
            torch.ops.aten.gelu_backward.grad_input(
                inner, gate, approximate="tanh", grad_input=d_gate
            )
        return d_x, None


def _activate(gate: Tensor, activation: str) -> Tensor:
    return silu(gate) if activation == "silu" else gelu(gate, approximate="tanh")
