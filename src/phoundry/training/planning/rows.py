"""What the rows of a run say of the time and the memory that it takes.

Two kinds of tokens are counted. **Whole** ones: each conversation's, as it stands in the data; of
these a run tells its speed. **Computed** ones: what conversations of a row begin with alike stands
in it once (prefixes.py); these take the time and the memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from phoundry.training.batch import Row
from phoundry.training.decoder.attention import LONGEST_DENSE
from phoundry.training.decoder.layout import Layout
from phoundry.training.decoder.stack import ALIGNED


@dataclass(frozen=True, slots=True)
class Rows:
    """Of some rows, laid out as they would be trained.

    `longest`: computed tokens of one. `pairs`: attention weights that one keeps, for each head.
    `gathered`: tokens of which one gathers keys and values, a prefix once for each conversation.
    `sizes`: different numbers of tokens, of rows and of what is supervised in them, as the decoder
    fills them up.
    """

    whole: int
    computed: int
    longest: int
    pairs: int
    gathered: int
    sizes: int

    @property
    def computed_share(self) -> float:
        """Computed tokens for each whole one."""
        return self.computed / self.whole

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Self:
        """`rows`: at least one."""
        lengths = [len(row.token_ids) for row in rows]
        sizes = {math.ceil(length / ALIGNED) for length in lengths}
        supervised = {math.ceil(len(row.targets) / ALIGNED) for row in rows}
        attended = [_attended(row) for row in rows]
        return cls(
            whole=sum(row.tokens for row in rows),
            computed=sum(lengths),
            longest=max(lengths),
            pairs=max(pairs for pairs, _ in attended),
            gathered=max(gathered for _, gathered in attended),
            sizes=len(sizes) + len(supervised),
        )


def _attended(row: Row) -> tuple[int, int]:
    """Pairs of a token and one that it may look at whose weights are kept, and tokens that are
    looked at, once for each piece."""
    pairs = gathered = 0
    for piece in Layout(row.groups).pieces:
        gathered += piece.end
        if piece.length * piece.end <= LONGEST_DENSE**2:
            pairs += piece.length * piece.end
    return pairs, gathered
