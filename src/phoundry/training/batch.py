"""Packs as tensors: one row of whole conversations, without padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phoundry.training.examples import Sample


@dataclass(frozen=True, slots=True)
class Row:
    """Conversations end to end.

    `token_ids`, `position_ids`: (1, tokens); positions begin at 0 in every conversation.
    `segments`: the length of each. `places`: (targets,) where in the row a supervised token is
    predicted from; `targets`: (targets,) those tokens.
    """

    token_ids: Tensor
    position_ids: Tensor
    segments: tuple[int, ...]
    places: Tensor
    targets: Tensor

    @property
    def tokens(self) -> int:
        return self.token_ids.shape[1]


def make_row(samples: Iterable[Sample]) -> Row:
    """The row of `samples`. A conversation's first token is never a target: nothing precedes it."""
    ids: list[int] = []
    positions: list[int] = []
    segments: list[int] = []
    places: list[int] = []
    for sample in samples:
        start, length = len(ids), len(sample.token_ids)
        ids += sample.token_ids
        positions += range(length)
        segments.append(length)
        places += [start + i - 1 for i in range(1, length) if sample.supervised[i]]
    targets = [ids[place + 1] for place in places]
    return Row(
        torch.tensor([ids]),
        torch.tensor([positions]),
        tuple(segments),
        torch.tensor(places, dtype=torch.long),
        torch.tensor(targets, dtype=torch.long),
    )


def rows_of_step(
    packs: Sequence[Sequence[int]], samples: Sequence[Sample], packs_per_row: int
) -> list[Row]:
    """The rows of one optimizer step: `packs_per_row` packs end to end in each."""
    rows: list[Row] = []
    for start in range(0, len(packs), packs_per_row):
        members = [index for row in packs[start : start + packs_per_row] for index in row]
        rows.append(make_row(samples[index] for index in members))
    return rows
