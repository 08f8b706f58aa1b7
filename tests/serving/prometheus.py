"""A strict reader of Prometheus' text format 0.0.4, for tests of what is written in it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')

Labels = frozenset[tuple[str, str]]


@dataclass
class Family:
    kind: str
    samples: dict[tuple[str, Labels], float] = field(
        default_factory=dict[tuple[str, Labels], float]
    )

    def of(self, **labels: str) -> float:
        """The one sample without a suffix that has all these labels."""
        (found,) = (
            v for (_, has), v in self.samples.items() if labels.items() <= dict(has).items()
        )
        return found


def parse(text: str) -> dict[str, Family]:
    """The families of `text`. Fails where Prometheus would, and where a histogram is none."""
    assert not text or text.endswith("\n")
    families: dict[str, Family] = {}
    helped: str | None = None
    current = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped = line.split(" ", 3)[2]
            assert helped not in families, f"{helped} twice"
        elif line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            assert current == helped, "TYPE follows its HELP"
            assert kind in ("counter", "gauge", "histogram")
            families[current] = Family(kind)
        else:
            _sample(line, current, families[current])
    for name, family in families.items():
        assert family.kind != "counter" or name.endswith("_total")
        if family.kind == "histogram":
            _check_histogram(name, family)
    return families


def _sample(line: str, family: str, into: Family) -> None:
    match = _LINE.fullmatch(line)
    assert match, line
    name, inner, value = match[1], match[2] or "", match[3]
    suffixes = ("_bucket", "_sum", "_count") if into.kind == "histogram" else ("",)
    assert name in {family + suffix for suffix in suffixes}, line
    found = _LABEL.findall(inner)
    assert "".join(f'{key}="{text}",' for key, text in found) == (f"{inner}," if inner else "")
    key = (name, frozenset(found))
    assert len(dict(found)) == len(found), "a label twice"
    assert key not in into.samples, f"{line} twice"
    number = float(value.replace("+Inf", "inf"))
    assert number >= 0
    into.samples[key] = number


def _check_histogram(name: str, family: Family) -> None:
    series: dict[Labels, dict[float, float]] = {}
    for (sample, labels), value in family.samples.items():
        if sample == f"{name}_bucket":
            bound = float(dict(labels)["le"].replace("+Inf", "inf"))
            rest = frozenset(pair for pair in labels if pair[0] != "le")
            series.setdefault(rest, {})[bound] = value
    for labels, buckets in series.items():
        values = [buckets[bound] for bound in sorted(buckets)]
        assert values == sorted(values), "buckets add up"
        assert buckets[math.inf] == family.samples[f"{name}_count", labels]
        assert (f"{name}_sum", labels) in family.samples
