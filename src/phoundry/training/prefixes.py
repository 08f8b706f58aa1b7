"""Which conversations begin alike, so that their common beginning is computed once. No torch here.

Most chat data has one system prompt, or the template's own, at the head of every conversation. A
prefix ends before the first token that a supervised one is predicted from: there the conversations
have different things to learn.

Sorted, conversations that begin alike are neighbours, and what each has in common with the next
says how their beginnings lie in one another: the intervals of a table of longest common prefixes,
which a stack walks through. Of `ab1 ab2 ac1 d1`, which have 2, 1 and 0 letters in common with the
next, the interval of 2 (`ab1 ab2`) lies in that of 1 (with `ac1`), and that in that of 0.

A conversation belongs to one group, so an interval that shares what it has in common takes its
members from those around it. What is spared at best is therefore asked of every interval for each
length that those around it may share, from the innermost outwards.
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
    """Neighbours in sorted order that have `common` tokens at their head, or more: those that are
    `alone`, and those `within`, which have more.

    By how many tokens are shared around it (0: none): `spared`, the most that its members may
    spare, with those that are left to be taken there; and whether its own are `shared` for that.
    """

    common: int
    alone: list[int] = field(default_factory=list[int])
    within: list[_Interval] = field(default_factory=list["_Interval"])
    spared: dict[int, int] = field(default_factory=dict[int, int])
    shared: dict[int, bool] = field(default_factory=dict[int, bool])

    def judge(self, around: Sequence[int]) -> None:
        """Find `spared` and `shared` for each length in `around`; those within have theirs."""
        # Who shares computes the prefix once.
        own = self._left_to(self.common) - self.common if self.common >= SHORTEST else 0
        for length in around:
            left = self._left_to(length)
            self.shared[length] = own > left
            self.spared[length] = max(own, left)

    def _left_to(self, length: int) -> int:
        """Tokens spared where those that are alone spare so many each."""
        within = sum(each.spared[length] for each in self.within)
        return len(self.alone) * length + within


def shared_prefixes(samples: Sequence[Sample]) -> list[Shared]:
    """Groups of `samples` that share what they begin with, each conversation being in one.

    Of all ways to do so, one that spares the most tokens. Those that share nothing worth it are one
    group with no prefix, the last. A function of the samples alone.
    """
    nested = _nested(_intervals(samples))
    for interval, around in reversed(nested):
        interval.judge(around)
    root = nested[0][0]
    alone: list[int] = []
    groups: list[Shared] = []
    left = [(root, 0, alone)]
    for interval, length, members in left:  # grows on the way
        if interval.shared[length]:
            groups.append(Shared(interval.common, []))
            length, members = interval.common, groups[-1].members
        members += interval.alone
        left += [(each, length, members) for each in interval.within]
    for group in groups:
        group.members.sort()
    groups.sort(key=lambda group: group.members)
    return [*groups, *([Shared(0, sorted(alone))] if alone else [])]


def _intervals(samples: Sequence[Sample]) -> _Interval:
    """That of all conversations, with all others in it."""
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
            if open_[-1].common < common:
                open_.append(_Interval(common))
            open_[-1].within.append(closed)
    return open_[0]


def _nested(root: _Interval) -> list[tuple[_Interval, tuple[int, ...]]]:
    """All intervals, outer ones first, each with the lengths that may be shared around it."""
    found: list[tuple[_Interval, tuple[int, ...]]] = [(root, (0,))]
    for interval, around in found:  # grows on the way
        below = (*around, interval.common) if interval.common >= SHORTEST else around
        found += [(each, below) for each in interval.within]
    return found


def _usable(sample: Sample) -> int:
    """Tokens at the head from which nothing supervised is predicted; the last is never one."""
    try:
        return sample.supervised.index(True, 1) - 1
    except ValueError:
        return len(sample.token_ids) - 1


def _common(a: Sequence[int], b: Sequence[int], most: int) -> int:
    """How many tokens, at most so many, are the same at the head of both."""
    return bisect_left(range(most), True, key=lambda last: a[: last + 1] != b[: last + 1])
