"""Rotary position embeddings: how far each pair of a head's dimensions is turned at a position.

The plain kind is computed here (Su et al. 2021); the ways to a longer context (linear, dynamic,
yarn, longrope, llama3) are transformers' functions, imported only where a model has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor

from phoundry.training.decoder.architecture import Architecture
from phoundry.training.decoder.layout import Layout

# (cosine, sine), each (tokens, 1, turned dimensions / 2), in the model's dtype.
Turn = tuple[Tensor, Tensor]


class Rotary:
    """The turns of every token of a row, for each kind of layer that the model has."""

    def __init__(self, architecture: Architecture, device: torch.device) -> None:
        self._architecture = architecture
        self._device = device
        self._tables: dict[tuple[str, int, torch.dtype], Turn] = {}

    def turns(self, layout: Layout, dtype: torch.dtype) -> dict[str, Turn]:
        """Turns by kind of layer, of the tokens of a row.

        A way to a longer context that depends on the length goes by the conversation's own, as if
        it were alone.
        """
        return {
            name: _joined(
                [self._turn(name, each.prefix, each.end, dtype) for each in layout.pieces]
            )
            for name in self._architecture.rope
        }

    def turns_at(self, places: Sequence[int], dtype: torch.dtype) -> dict[str, Turn]:
        """Turns by kind of layer of one token of each conversation, which has so many before it."""
        return {
            name: _joined([self._turn(name, place, place + 1, dtype) for place in places])
            for name in self._architecture.rope
        }

    def _turn(self, name: str, start: int, end: int, dtype: torch.dtype) -> Turn:
        """Of the positions `start` … `end` − 1 of a conversation of `end` tokens."""
        cosine, sine = self._table(name, end, dtype)
        return cosine[start:end], sine[start:end]

    def _table(self, name: str, length: int, dtype: torch.dtype) -> Turn:
        """Turns of the positions 0 … at least length − 1."""
        variant = self._architecture.rope_variant(name, length)
        known = self._tables.get((name, variant, dtype))
        if known is not None and known[0].shape[0] >= length:
            return known
        frequencies, scale = self._frequencies(name, variant)
        rounded = 1 << (length - 1).bit_length()
        positions = torch.arange(rounded, device=self._device, dtype=torch.float32)
        angles = torch.outer(positions, frequencies)[:, None]
        made = (angles.cos() * scale).to(dtype), (angles.sin() * scale).to(dtype)
        self._tables[name, variant, dtype] = made
        return made

    def _frequencies(self, name: str, variant: int) -> tuple[Tensor, float]:
        """Turns per position of each pair of dimensions, and what sines and cosines are scaled
        with."""
        a, rope = self._architecture, self._architecture.rope[name]
        width = int(a.head_width * float(rope["partial_rotary_factor"]))
        if rope["rope_type"] == "default":
            steps = torch.arange(0, width, 2, device=self._device, dtype=torch.float32) / width
            return 1.0 / (float(rope["rope_theta"]) ** steps), 1.0
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        # What those functions read of a configuration, and nothing else of transformers.
        config = SimpleNamespace(
            rope_parameters=rope,
            standardize_rope_params=lambda: None,
            head_dim=a.head_width,
            hidden_size=a.hidden,
            num_attention_heads=a.heads,
            max_position_embeddings=a.context_length,
        )
        make = cast(Any, ROPE_INIT_FUNCTIONS)[rope["rope_type"]]
        return make(config, self._device, seq_len=variant or None)


def turned(x: Tensor, turn: Turn, *, out: Tensor | None = None, back: bool = False) -> Tensor:
    """Each pair (x₁, x₂) of (tokens, heads, width) → (x₁c − x₂s, x₂c + x₁s); `back` undoes it.

    Pairs are a dimension and the one half the turned width further; the rest stays as it is.
    """
    cosine, sine = turn
    half = cosine.shape[-1]
    made = torch.empty_like(x) if out is None else out
    first, second = x[..., :half], x[..., half : 2 * half]
    sign = 1.0 if back else -1.0
    torch.mul(first, cosine, out=made[..., :half]).addcmul_(second, sine, value=sign)
    torch.mul(second, cosine, out=made[..., half : 2 * half]).addcmul_(first, sine, value=-sign)
    if 2 * half < x.shape[-1]:
        made[..., 2 * half :] = x[..., 2 * half :]
    return made


def _joined(turns: Sequence[Turn]) -> Turn:
    if len(turns) == 1:
        return turns[0]
    return torch.cat([cosine for cosine, _ in turns]), torch.cat([sine for _, sine in turns])
