"""Linear layers that read the same input, as one product: queries, keys and values; gate and up.

One wide product is faster than three narrow ones, and its input's gradient comes out as one sum.
Each layer keeps its own name, weight and adapter, which are views of the wide matrices: what is
saved and what an optimizer sees is as in transformers and PEFT.

    y = x·Wᵀ + bias + s·(x·Aᵀ)·Bᵀ      W (out, in); A (r, in) and B (out, r): LoRA, Hu et al. 2021
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from phoundry.training.decoder.layers import pieces


class Projection:
    """`parts` are the layers' names, such as `model.layers.0.self_attn.q_proj`."""

    def __init__(self, parts: Sequence[str], tensors: Mapping[str, Tensor]) -> None:
        self.parts = list(parts)
        weights = [tensors[f"{part}.weight"] for part in parts]
        self.sizes = [weight.shape[0] for weight in weights]
        self.weight = weights[0] if len(weights) == 1 else torch.cat(weights)
        biases = [tensors[f"{part}.bias"] for part in parts if f"{part}.bias" in tensors]
        self.bias = torch.cat(biases) if biases else None
        self.trained: dict[str, nn.Parameter] = {}
        self.adapter: Adapter | None = None

    def train_weights(self) -> dict[str, nn.Parameter]:
        """Make every weight and bias trainable; by name."""
        for kind, whole in (("weight", self.weight), ("bias", self.bias)):
            if whole is None:
                continue
            for part, view in zip(self.parts, pieces(whole, self.sizes), strict=True):
                self.trained[f"{part}.{kind}"] = nn.Parameter(view)
        return self.trained

    def add_adapter(self, r: int, alpha: float, drop: float) -> dict[str, nn.Parameter]:
        """A fresh adapter on each part, B being 0; its weights by name."""
        self.adapter = Adapter(self, r, alpha / r, drop)
        return self.adapter.named

    def __call__(self, x: Tensor, *, training: bool = False) -> Tensor:
        """(tokens, in) → (tokens, sum of the parts' outputs)."""
        if self.adapter is not None:
            return self.adapter(x, training=training)
        step = cast(Any, _Linear.apply)
        return step(x, self.weight, self.bias, self.sizes, *self.trained.values())

    def state(self) -> dict[str, Tensor]:
        """The base weights by name."""
        named: dict[str, Tensor] = {}
        for kind, whole in (("weight", self.weight), ("bias", self.bias)):
            if whole is not None:
                views = pieces(whole, self.sizes)
                named |= {f"{p}.{kind}": v for p, v in zip(self.parts, views, strict=True)}
        return named


class Adapter:
    """LoRA on the parts of a projection, under PEFT's names and with its way to begin.

    The parts' weights are views of two matrices: A's one under the other in `down` (r · parts, in),
    B's along the diagonal of `up` (out, r · parts), which is 0 elsewhere. One product with those
    zeros reads its wide side once, and takes half the time of one for each part.
    """

    def __init__(self, projection: Projection, r: int, scale: float, drop: float) -> None:
        self.projection, self.r, self.scale, self.drop = projection, r, scale, drop
        weight = projection.weight
        low = [torch.empty(r, weight.shape[1]) for _ in projection.parts]
        for each in low:
            nn.init.kaiming_uniform_(each, a=math.sqrt(5))
        self.down = torch.cat(low).to(weight)
        self.up = weight.new_zeros(len(weight), len(self.down))
        self.named: dict[str, nn.Parameter] = {}
        self.leaves: list[nn.Parameter] = []
        ups = diagonal(self.up, projection.sizes)
        for part, down, up in zip(projection.parts, self.down.chunk(len(ups)), ups, strict=True):
            a, b = nn.Parameter(down), nn.Parameter(up)
            self.named |= {f"{part}.lora_A.weight": a, f"{part}.lora_B.weight": b}
            self.leaves += [a, b]

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:
        base = self.projection
        if self.drop and training:
            return self._dropped(x)
        step = cast(Any, _LoraLinear.apply)
        wide = base.weight, base.bias, self.down, self.up
        return step(x, *wide, base.sizes, self.scale, *self.leaves)

    def _dropped(self, x: Tensor) -> Tensor:
        """With dropout on each adapter's own copy of the input, as in PEFT."""
        base = self.projection
        y = cast(Any, _Linear.apply)(x, base.weight, base.bias, base.sizes)
        added = [
            (dropout(x, self.drop) @ a.T) @ b.T
            for a, b in zip(self.leaves[::2], self.leaves[1::2], strict=True)
        ]
        return y + self.scale * torch.cat(added, dim=-1)


class _Linear(torch.autograd.Function):
    """dx = g·W; for each trained part dW = gᵀx and dbias = Σg, of its columns of g."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, sizes: list[int], *trained: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x if trained else None, w)
        ctx.sizes, ctx.count = sizes, len(trained)
        return x @ w.T if bias is None else torch.addmm(bias, x, w.T)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        g = gradients[0]
        d_x = g @ w if ctx.needs_input_grad[0] else None
        trained: tuple[Tensor, ...] = ()
        if ctx.count:
            trained = pieces(g.T @ x, ctx.sizes)
        if ctx.count > len(ctx.sizes):
            trained += pieces(g.sum(0), ctx.sizes)
        return d_x, None, None, None, *trained


class _LoraLinear(torch.autograd.Function):
    """With W frozen, g = dy and u = s·g·B: dB = s·gᵀ(x·Aᵀ), dA = uᵀx, dx = g·W + u·A."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        w: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        sizes: list[int],
        scale: float,
        *leaves: Tensor,
    ) -> Tensor:
        low = x @ down.T
        y = x @ w.T if bias is None else torch.addmm(bias, x, w.T)
        ctx.save_for_backward(x, low, w, down, up)
        ctx.sizes, ctx.scale = sizes, scale
        return y.addmm_(low, up.T, alpha=scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, low, w, down, up = ctx.saved_tensors
        g = gradients[0]
        u = (g @ up).mul_(ctx.scale)
        d_down = u.T @ x
        # (lowᵀ·g)ᵀ: twice as fast as gᵀ·low, whose result is narrow.
        d_up = (low.T @ g).mul_(ctx.scale).T
        d_x = (g @ w).addmm_(u, down) if ctx.needs_input_grad[0] else None
        d_downs = d_down.chunk(len(ctx.sizes))
        pairs = zip(d_downs, diagonal(d_up, ctx.sizes), strict=True)
        return d_x, None, None, None, None, None, None, *(each for pair in pairs for each in pair)


def diagonal(up: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Views of the blocks along the diagonal of (sum of `sizes`, r · parts)."""
    columns = up.chunk(len(sizes), dim=1)
    return [pieces(block, sizes)[n] for n, block in enumerate(columns)]
