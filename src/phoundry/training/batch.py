"""Packs as tensors: one row of whole conversations, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phoundry.training.decoder.layout import Group
from phoundry.training.examples import Sample
from phoundry.training.packing import pack
from phoundry.training.prefixes import Shared, shared_prefixes


@dataclass(frozen=True, slots=True)
class Row:
    """Conversations end to end, what they share at their head standing once.

    `token_ids`: (computed tokens,); positions begin at 0 in every conversation. `groups`: how they
    lie. `places`: (targets,) where in the row a supervised token is predicted from; `targets`:
    (targets,) those tokens. `tokens`: of all conversations, each counted whole.
    """

    token_ids: Tensor
    groups: tuple[Group, ...]
    places: Tensor
    targets: Tensor
    tokens: int


def make_row(samples: Sequence[Sample], *, share: bool = True) -> Row:
    """The row of `samples`. A conversation's first token is never a target: nothing precedes it.

    Args:
        share: whether what conversations share at their head stands once.
    """
    return _row(samples, _groups(samples, share))


def rows_of_step(
    packs: Sequence[Sequence[int]],
    samples: Sequence[Sample],
    row_tokens: int,
    *,
    share: bool = True,
) -> list[Row]:
    """The conversations of one optimizer step, laid out anew in rows of at most `row_tokens` to be
    computed, or of the longest conversation's length if that is more.

    Those that share a prefix are first cut into parts that fit a row, each with the prefix, and the
    parts are packed as if none met another of its own; where they do, they are one group again.

    Which rows they come in changes no result but by rounding: the loss is a sum over the step's
    supervised tokens.
    """
    members = [samples[index] for members in packs for index in members]
    groups = _groups(members, share)
    if sum(_computed(group, members) for group in groups) <= row_tokens:
        return [_row(members, groups)]
    parts = [part for group in groups for part in _in_rows(group, members, row_tokens)]
    sizes = [_computed(part, members) for part in parts]
    rows = pack(sizes, max(row_tokens, *sizes))
    return [_row(members, _merged([parts[place] for place in row], members)) for row in rows]


def _groups(samples: Sequence[Sample], share: bool) -> list[Shared]:
    return shared_prefixes(samples) if share else [Shared(0, list(range(len(samples))))]


def _computed(group: Shared, samples: Sequence[Sample]) -> int:
    """Tokens of a group, its prefix standing once."""
    return group.prefix + sum(len(samples[i].token_ids) - group.prefix for i in group.members)


def _in_rows(group: Shared, samples: Sequence[Sample], row_tokens: int) -> list[Shared]:
    """The group in parts that fit a row, each with the prefix; singly where there is none."""
    if not group.prefix:
        return [Shared(0, [index]) for index in group.members]
    rests = [len(samples[i].token_ids) - group.prefix for i in group.members]
    parts = pack(rests, max(row_tokens - group.prefix, *rests))
    named = [[group.members[place] for place in part] for part in parts]
    return [Shared(group.prefix if len(part) > 1 else 0, part) for part in named]


def _merged(groups: Sequence[Shared], samples: Sequence[Sample]) -> list[Shared]:
    """With those of one prefix as one group."""
    members: dict[tuple[int, ...], list[int]] = {}
    for group in groups:
        head = tuple(samples[group.members[0]].token_ids[: group.prefix])
        members.setdefault(head, []).extend(group.members)
    return [Shared(len(head), each) for head, each in members.items()]


def _row(samples: Sequence[Sample], groups: Sequence[Shared]) -> Row:
    ids: list[int] = []
    laid: list[Group] = []
    places: list[int] = []
    for group in groups:
        prefix = group.prefix
        ids += samples[group.members[0]].token_ids[:prefix]
        suffixes: list[int] = []
        for sample in (samples[index] for index in group.members):
            start, length = len(ids) - prefix, len(sample.token_ids)
            ids += sample.token_ids[prefix:]
            suffixes.append(length - prefix)
            # Nothing is predicted from within the prefix.
            places += [start + i - 1 for i in range(prefix + 1, length) if sample.supervised[i]]
        laid.append(Group(prefix, tuple(suffixes)))
    targets = [ids[place + 1] for place in places]
    return Row(
        torch.tensor(ids, dtype=torch.long),
        tuple(laid),
        torch.tensor(places, dtype=torch.long),
        torch.tensor(targets, dtype=torch.long),
        sum(len(samples[index].token_ids) for group in groups for index in group.members),
    )
