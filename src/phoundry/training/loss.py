"""Cross-entropy on supervised tokens only, a chunk of logits at a time.

The vocabulary projection of a small model is a fifth of its weights. Logits are made for the
positions that are learnt from and for no others, never for more than `CHUNK` at once, and in memory
that is kept: asked for anew, so large a block is zeroed by the kernel each time. Their gradient is
made in the same pass and in their place, a few rows at a time, so that the float32 copies of those
stay in the processor's cache.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

CHUNK = 512  # supervised tokens whose logits exist at one time
_SMALL = 1e-30  # float32 is whole down to 1e-38
_CACHED = 1 << 20  # float32 values that are worked on at one time


class Logits:
    """Room for the logits of a chunk, which is used again."""

    def __init__(self) -> None:
        self._room: Tensor | None = None

    def of(self, hidden: Tensor, weight: Tensor) -> Tensor:
        """hidden · weightᵀ, until the next ones are made."""
        size = len(hidden) * len(weight)
        room = self._room
        if room is None or room.numel() < size or room.dtype != hidden.dtype:
            self._room = None  # before the larger one is there
            room = self._room = hidden.new_empty(size)
        return torch.mm(hidden, weight.T, out=room[:size].view(len(hidden), len(weight)))


def cross_entropy_sum(
    hidden: Tensor, weight: Tensor, targets: Tensor, room: Logits | None = None
) -> Tensor:
    """Sum over tokens of −log softmax(hidden · weightᵀ)[target], float32.

    Args:
        hidden: (tokens or more, hidden size), the decoder's output where the *next* token is
            supervised. Rows beyond the targets are of no account.
        weight: (vocabulary, hidden size). Gets a gradient only if it wants one.
        targets: (tokens,) the next tokens.
        room: where logits are made; None: in memory of their own.
    """
    made = room or Logits()
    return cast(Tensor, _ChunkedCrossEntropy.apply(hidden, weight, targets, made))


@torch.no_grad()
def cross_entropy_and_hits(
    hidden: Tensor, weight: Tensor, targets: Tensor, room: Logits | None = None
) -> tuple[float, int]:
    """The same sum, and how many targets are the likeliest token."""
    total, hits = 0.0, 0
    made = room or Logits()
    for start in range(0, len(targets), CHUNK):
        rows = slice(start, start + CHUNK)
        logits = made.of(hidden[rows], weight)[: len(targets) - start]
        hits += int((logits.argmax(-1) == targets[rows]).sum())
        for part in _parts(logits):
            index = targets[rows][part, None]
            logs = torch.log_softmax(logits[part].float(), dim=-1)
            total -= float(logs.gather(1, index).sum())
    return total, hits


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Gradients, with q = softmax(z) and y the one-hot target: dz = q − y, dh = dz·W, dW = dzᵀh."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, made: Logits) -> Tensor:
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        d_hidden = torch.zeros_like(hidden) if wants_hidden else None
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if wants_weight else None
        total = hidden.new_zeros((), dtype=torch.float32)
        for start in range(0, len(targets), CHUNK):
            rows = slice(start, start + CHUNK)
            logits = made.of(hidden[rows], weight)
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
        return d_hidden, d_weight, None, None


def _loss_and_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """The sum of the losses; `logits` become their gradients, 0 beyond the targets."""
    total = logits.new_zeros((), dtype=torch.float32)
    logits[len(targets) :] = 0
    logits = logits[: len(targets)]
    for part in _parts(logits):
        index = targets[part, None]
        wide = logits[part].float()
        gradient = torch.softmax(wide, dim=-1)
        said = gradient.gather(1, index)
        total -= _logs(said, wide, index).sum()
        gradient.scatter_add_(1, index, -torch.ones_like(said))
        logits[part] = gradient
    return total


def _logs(said: Tensor, wide: Tensor, index: Tensor) -> Tensor:
    """Logarithms of the probabilities `said`, (rows, 1). Of one so small that it has lost digits,
    from the logits `wide`."""
    logs = said.log()
    lost = (said < _SMALL)[:, 0].nonzero()[:, 0]
    if len(lost):
        logs[lost] = torch.log_softmax(wide[lost], dim=-1).gather(1, index[lost])
    return logs


def _parts(logits: Tensor) -> list[slice]:
    rows, vocabulary = logits.shape
    # A graphics processor has no such cache to keep to, and would be idle between small pieces.
    step = rows if logits.is_cuda else max(1, _CACHED // vocabulary)
    return [slice(start, start + step) for start in range(0, rows, max(1, step))]
