"""Numbers about a server, and Prometheus' text of them (format 0.0.4), without a library.

A histogram is a plain list: recording costs less than a microsecond and takes no lock, so it can
stand on the way of every request. One event loop writes, the same one reads.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

CONTENT_TYPE = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")

# Upper bounds as OpenTelemetry's conventions for generative AI advise them, in seconds and tokens.
DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1),
    *(0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
EACH_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS = tuple(float(4**power) for power in range(14))  # 1, 4, 16, … 67,108,864


@dataclass(slots=True)
class Histogram:
    """How many values were at most each of `bounds` (rising), and their sum.

    `counts` has one entry more than `bounds`: values above them all.
    """

    bounds: Sequence[float]
    counts: list[int] = field(default_factory=list[int])
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def record(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: Mapping[str, str]) -> Iterator[str]:
        """The samples of this histogram: buckets that add up, sum and count."""
        inner = pairs(labels)
        comma = "," if inner else ""
        below = 0
        for bound, count in zip((*self.bounds, math.inf), self.counts, strict=True):
            below += count
            yield f'{name}_bucket{{{inner}{comma}le="{number(bound)}"}} {below}\n'
        yield sample(f"{name}_sum", labels, self.total)
        yield sample(f"{name}_count", labels, below)


def head(name: str, kind: str, what: str) -> str:
    """What stands before the samples of a family. `kind`: counter, gauge or histogram."""
    told = what.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {name} {told}\n# TYPE {name} {kind}\n"


def sample(name: str, labels: Mapping[str, str], value: float) -> str:
    inner = pairs(labels)
    return f"{name}{{{inner}}} {number(value)}\n" if inner else f"{name} {number(value)}\n"


def pairs(labels: Mapping[str, str]) -> str:
    """`a="x",b="y"`, escaped."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def number(value: float) -> str:
    """As Prometheus reads it: whole numbers without a point, infinity as +Inf."""
    if value == math.inf:
        return "+Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
