"""The added keys of a node, as they were read. `read.py` makes them, `wrap.py` runs them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phoundry.flows.reference import Reference

if TYPE_CHECKING:
    from phoundry.flows.extensions.keys import Cache, Condition, Foreach, OnError, Retry


@dataclass(frozen=True, slots=True)
class Extensions:
    """`standby_for` names the node that has this one as its `on_error: {node: …}`. `after` are
    nodes to wait for without taking anything from them; both are filled by `link.py`."""

    retry: Retry | None = None
    timeout: float | None = None
    on_error: OnError | None = None
    cache: Cache | None = None
    foreach: Foreach | None = None
    condition: Condition | None = None
    standby_for: str | None = None
    after: frozenset[str] = frozenset()

    @property
    def says_it_once(self) -> bool:
        """Whether what the node's first call gives is what the node gives: its text may leave
        before the call has ended."""
        tried_again = self.retry is not None and self.retry.max_attempts > 1
        return not (tried_again or self.on_error or self.foreach or self.timeout)

    def references(self) -> Iterator[Reference]:
        """What the keys refer to: the list of `foreach` and the values of the condition."""
        if self.foreach is not None:
            yield self.foreach.over
        if self.condition is not None:
            from phoundry.flows.extensions.keys import condition_references

            yield from condition_references(self.condition)


NONE = Extensions()
