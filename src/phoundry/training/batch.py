"""Packs as tensors: one row of whole conversations, without padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phoundry.training.examples import Sample
from phoundry.training.packing import pack


@dataclass(frozen=True, slots=True)
class Row:
    """Conversations end to end.

    `token_ids`: (tokens,); positions begin at 0 in every conversation. `segments`: the length of
    each. `places`: (targets,) where in the row a supervised token is predicted from; `targets`:
    (targets,) those tokens.
    """

    token_ids: Tensor
    segments: tuple[int, ...]
    places: Tensor
    targets: Tensor

    @property
    def tokens(self) -> int:
        return len(self.token_ids)


def make_row(samples: Iterable[Sample]) -> Row:
    """The row of `samples`. A conversation's first token is never a target: nothing precedes it."""
    ids: list[int] = []
    segments: list[int] = []
    places: list[int] = []
    for sample in samples:
        start, length = len(ids), len(sample.token_ids)
        ids += sample.token_ids
        segments.append(length)
        places += [start + i - 1 for i in range(1, length) if sample.supervised[i]]
    targets = [ids[place + 1] for place in places]
    return Row(
        torch.tensor(ids, dtype=torch.long),
        tuple(segments),
        torch.tensor(places, dtype=torch.long),
        torch.tensor(targets, dtype=torch.long),
    )


def rows_of_step(
    packs: Sequence[Sequence[int]], samples: Sequence[Sample], row_tokens: int
) -> list[Row]:
    """The conversations of one optimizer step, laid out anew in rows of at most `row_tokens`, or of
    the longest conversation's length if that is more.

    Which rows they come in changes no result but by rounding: the loss is a sum over the step's
    supervised tokens.
    """
    members = [samples[index] for members in packs for index in members]
    lengths = [len(sample.token_ids) for sample in members]
    if sum(lengths) <= row_tokens:
        return [make_row(members)]
    rows = pack(lengths, max(row_tokens, *lengths))
    return [make_row(members[place] for place in row) for row in rows]
