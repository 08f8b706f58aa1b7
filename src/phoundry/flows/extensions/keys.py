"""The added keys of a node, one class each. Only flows that have such keys import this."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from phoundry.flows.reference import Reference

ItemFailure = Literal["fail", "skip", "null"]


@dataclass(frozen=True, slots=True)
class Retry:
    """`max_attempts` counts the first one. The wait before attempt n + 1 is
    `delay * backoff ** (n - 1)` seconds, plus up to `jitter` seconds by chance. `on` are names of
    exception classes (their base classes count) or error codes; empty: any failure."""

    max_attempts: int = 3
    delay: float = 1.0
    backoff: float = 2.0
    jitter: float = 0.0
    on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OnError:
    """What stands in for the output of a node that failed: `value`, or the output of `node`."""

    value: Any = None
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Cache:
    """`key`: the inputs that tell two calls apart, None for all. `ttl`: seconds, None for ever."""

    key: tuple[str, ...] | None = None
    ttl: float | None = None


@dataclass(frozen=True, slots=True)
class Foreach:
    """The node runs once for each item of `over`, `concurrency` at once; its output is a list."""

    over: Reference
    item: str = "item"
    concurrency: int = 4
    on_error: ItemFailure = "fail"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`when OPERATOR value`; the operators are those of `conditions.OPERATORS`."""

    when: Reference
    operator: str
    value: Reference


@dataclass(frozen=True, slots=True)
class Group:
    """`any` or `all` of the members, or `not` of the only one."""

    kind: Literal["any", "all", "not"]
    members: tuple[Condition, ...]


Condition = Comparison | Group


def condition_references(condition: Condition) -> Iterator[Reference]:
    if isinstance(condition, Comparison):
        yield condition.when
        yield condition.value
        return
    for member in condition.members:
        yield from condition_references(member)
