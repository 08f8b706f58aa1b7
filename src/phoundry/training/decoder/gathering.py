"""What goes where, so that attention of many pieces is a few products.

Rows of one head and token are gathered from (tokens · heads, width), for all layers in the same
way. Pieces of nearly the same size are a bucket, and padded to its width; query heads that share a
key head are stacked, so that grouped keys are never repeated:

    queries (keys · pieces, stacked · wide, width)    keys, values (keys · pieces, seen, width)

where what is `seen` is `before` tokens of the prefix and `wide` of the piece itself, both padded.
Gathered rows lie like this; their gradients have two parts more, zeros being for what gets none:

    queries of all buckets | keys | values             then: one row of zeros | sums of each prefix

Queries and keys are turned by their position on the way. A turn pairs a dimension with the one half
the turned width further, x·cos + swapped(x)·sin: a second gathering, of parts of rows, swaps them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phoundry.training.decoder.heads import Heads
from phoundry.training.decoder.layout import Piece
from phoundry.training.decoder.rope import Turn

# Products are made for multiples of so many tokens: the matrix library keeps a plan, and memory,
# for every size that it has met.
ALIGNED = 8
# Times what is gathered from, above which what is gathered is not worth its memory.
KEPT = 2
# What a bucket more costs, in query-key pairs that could be computed in that time (measured).
BUCKET_COST = 6000


@dataclass(frozen=True, slots=True)
class Bucket:
    """Pieces that are padded to `wide` tokens, and their prefixes to one length.

    `query`, `key`, `value`: its rows among those gathered. `hidden`: (pieces, 1, wide, seen), 0
    where a token may look, −∞ elsewhere.
    """

    pieces: tuple[Piece, ...]
    wide: int
    query: slice
    key: slice
    value: slice
    hidden: Tensor

    @property
    def seen(self) -> int:
        """Places that a token is compared with."""
        return self.hidden.shape[-1]

    @property
    def scores(self) -> tuple[int, ...]:
        """(keys, pieces, stacked, wide, seen), the keys left open."""
        keys = (self.key.stop - self.key.start) // (len(self.pieces) * self.seen)
        return (keys, len(self.pieces), -1, self.wide, self.seen)

    def parts(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values: (keys · pieces, stacked · wide or seen, width)."""
        count, _, _, _, seen = self.scores
        batch = count * len(self.pieces)
        return (
            rows[self.query].view(batch, -1, rows.shape[1]),
            rows[self.key].view(batch, seen, rows.shape[1]),
            rows[self.value].view(batch, seen, rows.shape[1]),
        )


@dataclass(frozen=True, slots=True)
class Prefix:
    """`rows`: where the gradients of its keys and values are gathered. `seen_in`: buckets with the
    places of pieces in it that see it, and where among what those see it begins."""

    length: int
    rows: slice
    seen_in: list[tuple[Bucket, list[int], int]]


class Gathering:
    """The buckets of a row's pieces, and the way there and back.

    `queries`: gathered rows that are queries, which come first. `outputs`: for each of them its row
    of (tokens · query heads); `answers`: for each of those the gathered one; `idle`: queries that
    are padding, which repeats a token. Gradients have `extra` rows after those gathered.
    `outgrows`: far more is gathered than there is, too much to be kept.

    Args:
        pieces: those that are computed here; other tokens get no output and no gradient.
        turn: of each token of the whole row.
    """

    def __init__(
        self, pieces: Sequence[Piece], turn: Turn, heads: Heads, *, dtype: torch.dtype
    ) -> None:
        device, tokens = turn[0].device, len(turn[0])
        self._tokens = tokens
        self.buckets: list[Bucket] = []
        sets = _buckets(pieces)
        self.queries = heads.queries * sum(len(each) * wide for each, _, wide in sets)
        all_keys = heads.keys * sum(len(each) * (before + wide) for each, before, wide in sets)
        parts: list[_Indices] = []
        at_query, at_key = 0, self.queries
        for each, before, wide in sets:
            part = _indices(each, before, wide, heads)
            after_query, after_key = at_query + len(part.query), at_key + len(part.key)
            self.buckets.append(
                Bucket(
                    tuple(each),
                    wide,
                    slice(at_query, after_query),
                    slice(at_key, after_key),
                    slice(at_key + all_keys, after_key + all_keys),
                    _hidden(each, before, wide).to(device, dtype),
                )
            )
            parts.append(part)
            at_query, at_key = after_query, after_key
        keys = torch.cat([part.key for part in parts])
        rows = torch.cat([*(part.query for part in parts), keys, keys + heads.keys])
        is_idle = torch.cat([part.idle for part in parts])
        is_own = torch.cat([part.own for part in parts])
        self.idle = is_idle.nonzero()[:, 0].to(device)
        asked_rows = rows[: self.queries]
        outputs = asked_rows // heads.all * heads.queries + asked_rows % heads.all
        self.outputs = outputs.to(device)
        self.outgrows = len(rows) > KEPT * tokens * heads.all
        back = torch.full((tokens * heads.all,), len(rows))
        mine = torch.cat([~is_idle, is_own, is_own]).nonzero()[:, 0]
        back[rows[mine]] = mine
        back = back.view(tokens, heads.all)
        # Any, for tokens that are not computed here.
        answers = back[:, : heads.queries].flatten().clamp(max=self.queries - 1)
        self.answers = answers.to(device)
        self.prefixes, self.extra = _find_prefixes(self.buckets, back, heads, len(rows) + 1)
        self._way = _Way(rows.to(device), heads, turn, dtype)
        self._way_back = _Way(back.flatten().to(device), heads, turn, dtype, back=True)

    def turned_rows(self, qkv: Tensor) -> Tensor:
        """Gathered from (tokens, heads · width)."""
        return self._way.take(qkv)

    def turned_back(self, d_rows: Tensor) -> Tensor:
        """The gradient of what was gathered: (tokens, heads · width)."""
        return self._way_back.take(d_rows).view(self._tokens, -1)


@dataclass(frozen=True, slots=True)
class _Indices:
    """Of a bucket: the rows of its queries and of its keys; which queries are padding, and which
    keys are a token's own place."""

    query: Tensor
    key: Tensor
    idle: Tensor
    own: Tensor


def _indices(pieces: Sequence[Piece], before: int, wide: int, heads: Heads) -> _Indices:
    """`before`: what prefixes are padded to."""
    places = torch.tensor([piece.start for piece in pieces])[:, None] + torch.arange(wide)
    ends = torch.tensor([piece.start + piece.length for piece in pieces])[:, None]
    clamped = places.clamp(max=ends - 1)
    stacked = torch.arange(heads.queries).view(heads.keys, 1, -1, 1)
    query = clamped[None, :, None] * heads.all + stacked
    looked = torch.cat([_prefixes(pieces, before), clamped], 1)
    key = looked * heads.all + torch.arange(heads.keys)[:, None, None] + heads.queries
    own = torch.cat([torch.zeros(len(pieces), before, dtype=torch.bool), places < ends], 1)
    return _Indices(
        query.flatten(),
        key.flatten(),
        (places >= ends)[None, :, None].expand(query.shape).flatten(),
        own[None].expand(key.shape).flatten(),
    )


class _Way:
    """Rows from one place to another, turned: x·cos + swapped(x)·sin."""

    def __init__(
        self, rows: Tensor, heads: Heads, turn: Turn, dtype: torch.dtype, *, back: bool = False
    ) -> None:
        half = turn[0].shape[-1]
        self._rows, self._width = rows, heads.width
        # Parts of rows that are swapped as a whole.
        self._part = math.gcd(half, heads.width)
        count, swap = heads.width // self._part, half // self._part
        other = torch.arange(count, device=rows.device)
        other[: 2 * swap] = other[: 2 * swap].roll(swap)
        self._swapped = (rows[:, None] * count + other).flatten()
        whose = torch.arange(len(rows), device=rows.device) if back else rows
        token, head = whose // heads.all, whose % heads.all
        cosine, sine = (each[:, 0] for each in turn)
        scale = torch.ones(heads.all, device=rows.device)
        scale[: heads.queries] = heads.scale
        signed = torch.cat([sine, -sine] if back else [-sine, sine], 1)
        still = (head >= heads.turned)[:, None]
        self._cosine = torch.ones(len(rows), heads.width, device=rows.device)
        self._sine = torch.zeros_like(self._cosine)
        self._cosine[:, : 2 * half] = torch.cat([cosine, cosine], 1).float()[token]
        self._sine[:, : 2 * half] = signed.float()[token]
        self._cosine = self._cosine.masked_fill_(still, 1).mul_(scale[head, None]).to(dtype)
        self._sine = self._sine.masked_fill_(still, 0).mul_(scale[head, None]).to(dtype)

    def take(self, x: Tensor) -> Tensor:
        moved = x.reshape(-1, self._width).index_select(0, self._rows)
        swapped = x.reshape(-1, self._part).index_select(0, self._swapped).view(moved.shape)
        return moved.mul_(self._cosine).addcmul_(swapped, self._sine)


def _find_prefixes(
    buckets: Sequence[Bucket], back: Tensor, heads: Heads, first: int
) -> tuple[list[Prefix], int]:
    """The prefixes that pieces of `buckets` see, and how many rows their gradients take, with the
    one row of zeros before them. `back` then leads there."""
    found: dict[tuple[int, int], list[tuple[Bucket, list[int], int]]] = {}
    for bucket in buckets:
        by_prefix: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for place, piece in enumerate(bucket.pieces):
            if piece.prefix:
                by_prefix[piece.prefix_start, piece.prefix].append(place)
        for key, places in by_prefix.items():
            found.setdefault(key, []).append((bucket, places, 0))
    at = first
    prefixes: list[Prefix] = []
    for (start, length), seen_in in found.items():
        for bucket in buckets:  # its own, where it is computed here
            for place, piece in enumerate(bucket.pieces):
                if piece.start == start and not piece.prefix:
                    seen_in.append((bucket, [place], bucket.seen - bucket.wide))
        after = at + 2 * heads.keys * length
        back[start : start + length, heads.queries :] = (
            torch.arange(at, after).view(2 * heads.keys, length).T
        )
        prefixes.append(Prefix(length, slice(at, after), seen_in))
        at = after
    return prefixes, at - first + 1


def _buckets(pieces: Sequence[Piece]) -> list[tuple[list[Piece], int, int]]:
    """Pieces that go together, and what their prefixes and they are padded to.

    Of all ways to cut them, in the order of prefixes and then of lengths, the one of least cost:
    pairs computed, and `BUCKET_COST` for each bucket.
    """
    by_size: defaultdict[tuple[int, int], list[Piece]] = defaultdict(list)
    for piece in pieces:
        by_size[_up(piece.prefix), _up(piece.length)].append(piece)
    sizes = sorted(by_size)
    # best[n]: least cost of the first n sizes, where their last bucket begins, and its padding.
    best: list[tuple[int, int, int, int]] = [(0, 0, 0, 0)]
    for n in range(1, len(sizes) + 1):
        options: list[tuple[int, int, int, int]] = []
        count = before = wide = 0
        for first in range(n - 1, -1, -1):
            prefix, length = sizes[first]
            count += len(by_size[sizes[first]])
            before, wide = max(before, prefix), max(wide, length)
            cost = count * wide * (before + wide) + BUCKET_COST
            options.append((best[first][0] + cost, first, before, wide))
        best.append(min(options))
    found: list[tuple[list[Piece], int, int]] = []
    n = len(sizes)
    while n:
        _, first, before, wide = best[n]
        together = [piece for size in sizes[first:n] for piece in by_size[size]]
        found.append((together, before, wide))
        n = first
    return found


def _up(length: int) -> int:
    return length + -length % ALIGNED


def _prefixes(pieces: Sequence[Piece], padded: int) -> Tensor:
    """(pieces, padded): the tokens of each piece's prefix; padding repeats a token."""
    starts = torch.tensor([piece.prefix_start for piece in pieces])[:, None]
    lasts = torch.tensor([max(0, piece.prefix - 1) for piece in pieces])[:, None]
    return starts + torch.arange(padded).expand(len(pieces), -1).clamp(max=lasts)


def _hidden(pieces: Sequence[Piece], padded: int, wide: int) -> Tensor:
    """(pieces, 1, wide, padded + wide): 0 where a token may look, −∞ in padding and ahead of it."""
    hidden = torch.full((len(pieces), 1, wide, padded + wide), float("-inf"))
    for place, piece in enumerate(pieces):
        hidden[place, :, :, : piece.prefix] = 0
    hidden[..., padded:] = torch.full((wide, wide), float("-inf")).triu(1)
    return hidden
