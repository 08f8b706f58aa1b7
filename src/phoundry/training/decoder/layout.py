"""Where the conversations of a row lie, and what each stretch of it may see.

Conversations that begin alike share those tokens: what a token of a causal model is does not depend
on what follows it, so a common beginning is computed once, and everything that goes on from it
attends to it.

    prefix | suffix of conversation 1 | suffix of conversation 2 | …
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Conversations that begin with the same `prefix` tokens, which stand once and before them.

    `suffixes`: tokens of each conversation after them. Without a prefix they are the whole ones.
    """

    prefix: int
    suffixes: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """That are computed."""
        return self.prefix + sum(self.suffixes)


@dataclass(frozen=True, slots=True)
class Piece:
    """`length` tokens from `start` on: each sees the `prefix` tokens from `prefix_start` on, and of
    its own piece itself and what is before it. Its first token is at position `prefix`."""

    start: int
    length: int
    prefix_start: int = 0
    prefix: int = 0

    @property
    def end(self) -> int:
        """Position after its last token."""
        return self.prefix + self.length


class Layout:
    """The pieces of a row, in their order: of each group its prefix and then its suffixes."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.pieces: list[Piece] = []
        start = 0
        for group in groups:
            first = start
            if group.prefix:
                self.pieces.append(Piece(start, group.prefix))
                start += group.prefix
            for length in group.suffixes:
                self.pieces.append(Piece(start, length, first, group.prefix))
                start += length
        self.tokens = start

    @classmethod
    def plain(cls, lengths: Sequence[int]) -> Layout:
        """Whole conversations that share nothing."""
        return cls([Group(0, tuple(lengths))])
