"""Cross-entropy on supervised tokens only, a chunk of logits at a time.

The vocabulary projection of a small model is a fifth of its weights. Logits are made for the
positions that are learnt from and for no others, never for more than `CHUNK` at once, and their
gradient is made in the same pass, so that a chunk's logits are gone before the next one's exist.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

CHUNK = 256  # supervised tokens whose logits exist at one time


def cross_entropy_sum(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, bias: Tensor | None = None
) -> Tensor:
    """Sum over tokens of −log softmax(hidden · weightᵀ + bias)[target], float32.

    Args:
        hidden: (tokens, hidden size), the decoder's output where the *next* token is supervised.
        weight: (vocabulary, hidden size). Gets a gradient only if it wants one.
        targets: (tokens,) the next tokens.
        bias: (vocabulary,), as some heads have; never trained here.
    """
    return cast(Tensor, _ChunkedCrossEntropy.apply(hidden, weight, targets, bias))


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Gradients, with q = softmax(z) and y the one-hot target: dz = q − y, dh = dz·W, dW = dzᵀh."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None
    ) -> Tensor:
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        d_hidden = torch.empty_like(hidden) if wants_hidden else None
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if wants_weight else None
        total = hidden.new_zeros((), dtype=torch.float32)
        for start in range(0, len(targets), CHUNK):
            rows = slice(start, start + CHUNK)
            logits = (hidden[rows] @ weight.T).float()
            if bias is not None:
                logits += bias
            index = targets[rows, None]
            level = torch.logsumexp(logits, dim=-1, keepdim=True)
            total += (level - logits.gather(1, index)).sum()
            if d_hidden is None and d_weight is None:
                continue
            gradient = logits.sub_(level).exp_()
            gradient.scatter_add_(1, index, -torch.ones_like(level))
            gradient = gradient.to(hidden.dtype)
            if d_hidden is not None:
                d_hidden[rows] = gradient @ weight
            if d_weight is not None:
                d_weight += (gradient.T @ hidden[rows]).float()
        ctx.save_for_backward(d_hidden, d_weight)
        ctx.weight_type = weight.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight = ctx.saved_tensors
        scale = gradients[0]
        if d_hidden is not None:
            d_hidden = (d_hidden * scale).to(d_hidden.dtype)
        if d_weight is not None:
            d_weight = (d_weight * scale).to(ctx.weight_type)
        return d_hidden, d_weight, None, None
