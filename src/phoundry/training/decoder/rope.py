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

# (cosine, sine), each (tokens, 1, turned dimensions / 2), in the model's dtype.
Turn = tuple[Tensor, Tensor]


class Rotary:
    """The turns of every token of a row, for each kind of layer that the model has."""

    def __init__(self, architecture: Architecture, device: torch.device) -> None:
        self._architecture = architecture
        self._device = device
        self._tables: dict[tuple[str, int, torch.dtype], Turn] = {}

    def turns(self, segments: Sequence[int], dtype: torch.dtype) -> dict[str, Turn]:
        """Turns by kind of layer. Each segment is a conversation whose positions begin at 0.

        A way to a longer context that depends on the length goes by the segment's own, as if it
        were alone.
        """
        return {name: self._turn(name, segments, dtype, 0) for name in self._architecture.rope}

    def turns_at(self, places: Sequence[int], dtype: torch.dtype) -> dict[str, Turn]:
        """Turns by kind of layer of one token of each conversation, which has so many before it."""
        found: dict[str, Turn] = {}
        for name in self._architecture.rope:
            rows = [self._turn(name, [1], dtype, place) for place in places]
            found[name] = (
                torch.cat([cosine for cosine, _ in rows]),
                torch.cat([sine for _, sine in rows]),
            )
        return found

    def _turn(self, name: str, segments: Sequence[int], dtype: torch.dtype, start: int) -> Turn:
        rows: list[Turn] = []
        for length in segments:
            cosine, sine = self._table(name, start + length, dtype)
            rows.append((cosine[start : start + length], sine[start : start + length]))
        if len(rows) == 1:
            return rows[0]
        return torch.cat([cosine for cosine, _ in rows]), torch.cat([sine for _, sine in rows])

    def _table(self, name: str, length: int, dtype: torch.dtype) -> Turn:
        """Turns of the positions 0 … at least length − 1."""
        variant = self._variant(name, length)
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

    def _variant(self, name: str, length: int) -> int:
        """Lengths with the same frequencies have the same number: 0 unless they depend on it."""
        rope = self._architecture.rope[name]
        if rope["rope_type"] == "longrope":
            original = int(rope["original_max_position_embeddings"])
            return original + 1 if length > original else 0
        if rope["rope_type"] == "dynamic":
            return length if length > self._architecture.context_length else 0
        return 0

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
