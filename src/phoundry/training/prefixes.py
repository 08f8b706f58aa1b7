"""Which conversations begin alike, so that their common beginning is computed once. No torch here.

Most chat data has one system prompt, or the template's own, at the head of every conversation. A
prefix ends before the first token that a supervised one is predicted from: there the conversations
have different things to learn.

Sorted, conversations that begin alike are neighbours, and what each has in common with the next
says how their beginnings lie in one another: the intervals of a table of longest common prefixes,
which a stack walks through. Of `ab1 ab2 ac1 d1`, which have 2, 1 and 0 letters in common with the
next, the interval of 2 (`ab1 ab2`) closes first and is taken into that of 1 (with `ac1`), which
closes before `d1`; each keeps its own prefix or gives it up, whichever spares more.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from phoundry.training.examples import Sample

# Fewer common tokens are not worth the bookkeeping.
SHORTEST = 8


@dataclass(frozen=True, slots=True)
class Shared:
    """`members`: places, among those that were given, of conversations whose first `prefix` tokens
    are the same; 0: not any."""

    prefix: int
    members: list[int]


@dataclass(slots=True)
class _Interval:
    """Neighbours in sorted order that have `common` tokens at their head, or more: those of
    `groups`, whose prefixes are longer, and those that are still `alone`."""

    common: int
    alone: list[int] = field(default_factory=list[int])
    groups: list[Shared] = field(default_factory=list[Shared])

    def take(self, other: _Interval) -> None:
        self.alone += other.alone
        self.groups += other.groups

    def close(self) -> None:
        """Let all that are alone share the common tokens, with those of each group that spares
        more this way than with its own prefix, if that spares anything."""
        if self.common < SHORTEST:
            return
        kept: list[Shared] = []
        joined, given_up = list(self.alone), 0
        for group in self.groups:
            own = (len(group.members) - 1) * group.prefix
            if len(group.members) * self.common >= own:
                joined += group.members
                given_up += own
            else:
                kept.append(group)
        if len(joined) > 1 and (len(joined) - 1) * self.common >= given_up:
            self.alone, self.groups = [], [*kept, Shared(self.common, sorted(joined))]


def shared_prefixes(samples: Sequence[Sample]) -> list[Shared]:
    """Groups of `samples` that share what they begin with, each conversation being in one.

    From the longest beginnings to the shortest, each time what spares the most tokens. Those that
    share nothing worth it are one group with no prefix, the last. A function of the samples alone.
    """
    ends = [_usable(sample) for sample in samples]
    order = sorted(range(len(samples)), key=lambda i: samples[i].token_ids[: ends[i]])
    open_ = [_Interval(0)]
    for index, after in zip_longest(order, order[1:]):
        common = 0
        if after is not None:
            most = min(ends[index], ends[after])
            common = _common(samples[index].token_ids, samples[after].token_ids, most)
        if common > open_[-1].common:
            open_.append(_Interval(common))
        open_[-1].alone.append(index)
        while open_[-1].common > common:
            closed = open_.pop()
            closed.close()
            if open_[-1].common < common:
                open_.append(_Interval(common))
            open_[-1].take(closed)
    alone = sorted(open_[0].alone)
    return [*open_[0].groups, *([Shared(0, alone)] if alone else [])]


def _usable(sample: Sample) -> int:
    """Tokens at the head from which nothing supervised is predicted; the last is never one."""
    try:
        return sample.supervised.index(True, 1) - 1
    except ValueError:
        return len(sample.token_ids) - 1


def _common(a: Sequence[int], b: Sequence[int], most: int) -> int:
    """How many tokens, at most so many, are the same at the head of both."""
    return bisect_left(range(most), True, key=lambda last: a[: last + 1] != b[: last + 1])
