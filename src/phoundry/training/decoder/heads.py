"""How a layer attends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heads:
    """Heads of queries, and of keys and of values, with their width; `scale` of the scores.

    `window`: how many tokens back a layer sees, itself included; None: all.
    """

    queries: int
    keys: int
    width: int
    scale: float
    window: int | None = None

    @property
    def turned(self) -> int:
        """Heads that are turned by position: queries and keys."""
        return self.queries + self.keys

    @property
    def all(self) -> int:
        """Of queries, keys and values."""
        return self.queries + 2 * self.keys
