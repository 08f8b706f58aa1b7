"""Cross-entropy on supervised tokens only, a chunk of logits at a time.

The vocabulary projection of a small model is a fifth of its weights. Logits are made for the
positions that are learnt from and for no others, never for more than `CHUNK` at once. Their
gradient is made in the same pass and in their place, a few rows at a time, so that the float32
copies of those stay in the processor's cache.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

CHUNK = 512  # supervised tokens whose logits exist at one time
_CACHED = 1 << 20  # float32 values that are worked on at one time


def cross_entropy_sum(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Sum over tokens of −log softmax(hidden · weightᵀ)[target], float32.

    Args:
        hidden: (tokens or more, hidden size), the decoder's output where the *next* token is
            supervised. Rows beyond the targets are of no account.
        weight: (vocabulary, hidden size). Gets a gradient only if it wants one.
        targets: (tokens,) the next tokens.
    """
    return cast(Tensor, _ChunkedCrossEntropy.apply(hidden, weight, targets))


@torch.no_grad()
def cross_entropy_and_hits(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[float, int]:
    """The same sum, and how many targets are the likeliest token."""
    total, hits = 0.0, 0
    for start in range(0, len(targets), CHUNK):
        rows = slice(start, start + CHUNK)
        logits = (hidden[rows] @ weight.T)[: len(targets) - start]
        hits += int((logits.argmax(-1) == targets[rows]).sum())
        for part in _parts(logits):
            index = targets[rows][part, None]
            logs = torch.log_softmax(logits[part].float(), dim=-1)
            total -= float(logs.gather(1, index).sum())
    return total, hits


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Gradients, with q = softmax(z) and y the one-hot target: dz = q − y, dh = dz·W, dW = dzᵀh."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        d_hidden = torch.zeros_like(hidden) if wants_hidden else None
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if wants_weight else None
        total = hidden.new_zeros((), dtype=torch.float32)
        for start in range(0, len(targets), CHUNK):
            rows = slice(start, start + CHUNK)
            logits = hidden[rows] @ weight.T
            total += _loss_and_gradient(logits, targets[rows])
            if d_hidden is not None:
                torch.matmul(logits, weight, out=d_hidden[rows])
            if d_weight is not None:
                d_weight += (logits.T @ hidden[rows]).float()
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
        return d_hidden, d_weight, None


def _loss_and_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """The sum of the losses; `logits` become their gradients, 0 beyond the targets."""
    total = logits.new_zeros((), dtype=torch.float32)
    logits[len(targets) :] = 0
    logits = logits[: len(targets)]
    for part in _parts(logits):
        index = targets[part, None]
        logs = torch.log_softmax(logits[part].float(), dim=-1)
        total -= logs.gather(1, index).sum()
        gradient = logs.exp_()
        gradient.scatter_add_(1, index, -torch.ones_like(index, dtype=torch.float32))
        logits[part] = gradient
    return total


def _parts(logits: Tensor) -> list[slice]:
    rows, vocabulary = logits.shape
    # A graphics processor has no such cache to keep to, and would be idle between small pieces.
    step = rows if logits.is_cuda else max(1, _CACHED // vocabulary)
    return [slice(start, start + step) for start in range(0, rows, max(1, step))]
