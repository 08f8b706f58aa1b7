"""What the report draws: how long lines took, how their numbers are spread, metrics as bars.

Plots are SVG written by hand: a few rectangles and texts need no library.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

BINS = 24
WIDTH, HEIGHT, MARGIN = 360, 120, 18  # pixels
LONGEST_TITLE = 56  # characters
MOST_PLOTS = 8  # numeric outputs of one run


class Figures:
    """The numbers of one run: seconds, and every output that is a number. 8 bytes each."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.numbers: dict[str, array[float]] = {"seconds": array("d")}

    def add(self, line: Mapping[str, Any]) -> None:
        if line["seconds"] is not None:
            self.numbers["seconds"].append(line["seconds"])
        for name, value in line["outputs"].items():
            number = _number(value)
            name = f"outputs.{name}"
            if number is not None and (name in self.numbers or len(self.numbers) <= MOST_PLOTS):
                self.numbers.setdefault(name, array("d")).append(number)

    def svgs(self) -> list[str]:
        """A histogram for each kind of number."""
        return [
            histogram(f"{self.run}: {name}", values)
            for name, values in self.numbers.items()
            if len(values) > 1
        ]


def _number(value: Any) -> float | None:
    """A number, or text that is one, as flows often give scores."""
    if isinstance(value, str) and len(value) <= 24:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the ascending `values` lie (nearest rank)."""
    return values[min(len(values) - 1, max(0, math.ceil(share * len(values)) - 1))]


def histogram(title: str, values: Sequence[float]) -> str:
    """How often `values` fall into each of `BINS` equal steps, as SVG."""
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    # In halves: the distance of two finite numbers may be none.
    span = high / 2 - low / 2
    step = span / BINS * 2
    counts = [0] * BINS
    for value in ordered:
        place = int((value / 2 - low / 2) / span * BINS) if span > 0 else 0
        counts[min(BINS - 1, place)] += 1
    most, wide = max(counts), WIDTH / BINS
    bars = "".join(
        f'<rect x="{place * wide:.1f}" y="{MARGIN + HEIGHT * (1 - count / most):.1f}" '
        f'width="{wide - 1:.1f}" height="{HEIGHT * count / most:.1f}">'
        f"<title>{short(low + place * step)} to {short(low + (place + 1) * step)}: {count:,}"
        "</title></rect>"
        for place, count in enumerate(counts)
        if count
    )
    told = (
        f"{len(values):,} values, median {short(quantile(ordered, 0.5))}, "
        f"95 % below {short(quantile(ordered, 0.95))}"
    )
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT + 2 * MARGIN}" role="img" '
        f'aria-label="{escape(title)}">{bars}'
        f'<text x="0" y="12">{escape(_cut(title))}</text>'
        f'<text x="0" y="{HEIGHT + 2 * MARGIN - 4}">{short(low)}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 2 * MARGIN - 4}" text-anchor="end">{short(high)}</text>'
        f"</svg><figcaption>{escape(told)}</figcaption></figure>"
    )


def bars(title: str, values: Mapping[str, float]) -> str:
    """One metric of several runs as horizontal bars, as SVG."""
    most = max((abs(value) for value in values.values()), default=0.0) or 1.0
    row = 22
    drawn = "".join(
        f'<rect x="0" y="{MARGIN + place * row}" width="{WIDTH * abs(value) / most:.1f}" '
        f'height="{row - 6}"/>'
        f'<text x="4" y="{MARGIN + place * row + 12}">'
        f"{short(value)} · {escape(_cut(name))}</text>"
        for place, (name, value) in enumerate(values.items())
    )
    return (
        f'<figure><svg class="bars" viewBox="0 0 {WIDTH} {MARGIN + row * len(values)}" role="img" '
        f'aria-label="{escape(title)}"><text x="0" y="12">{escape(_cut(title))}</text>{drawn}</svg>'
        "</figure>"
    )


def _cut(text: str) -> str:
    """What fits above a plot."""
    return text if len(text) <= LONGEST_TITLE else text[: LONGEST_TITLE - 1] + "…"


def short(value: float) -> str:
    return f"{value:.4g}"
