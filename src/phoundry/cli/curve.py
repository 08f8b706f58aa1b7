"""A loss curve as lines of text: points in, lines out.

The training loss is a line of braille dots (two by four to a character), validation points are
marks over it, the best one another mark. Where the output cannot show these, plain ASCII stands in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

Point = tuple[float, float]  # step, loss

NARROWEST = 24  # characters: below this a curve says nothing
HEIGHT = 10  # rows of the drawing, axis and legend not counted
SYMBOLS = "⣿●★┤│└─"
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille dot, by row, column


@dataclass(frozen=True, slots=True)
class Style:
    """The characters of a drawing, and how many dots one of them holds."""

    across: int
    down: int
    line: str  # a character of the line, for the legend
    mark: str
    best: str
    tick: str
    side: str
    corner: str
    floor: str


BRAILLE = Style(2, 4, "⠤", "●", "★", "┤", "│", "└", "─")
ASCII = Style(1, 1, "*", "o", "@", "+", "|", "+", "-")


def style_for(encoding: str | None) -> Style:
    """Braille where `encoding` has it, else ASCII."""
    try:
        SYMBOLS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BRAILLE


def chart(
    training: Sequence[Point],
    validation: Sequence[Point] = (),
    *,
    best_step: float | None = None,
    width: int = 80,
    height: int = HEIGHT,
    style: Style = BRAILLE,
) -> list[str]:
    """Lines of at most `width` characters; none for fewer than two points or too little room.

    Values that are no finite numbers leave a gap, and are counted in the last line.
    """
    curve, marks = _finite(training), _finite(validation)
    known = [*(point for point in curve if point), *(point for point in marks if point)]
    if len(known) < 2 or width < NARROWEST:
        return []
    frame = _Frame.around(known, width, height, style)
    canvas = _Canvas(frame.columns, height, style)
    for one, other in _segments(curve):
        canvas.line(frame.dot(one), frame.dot(other))
    shown = [point for point in marks if point]
    best = next((point for point in shown if point[0] == best_step), None)
    for point in shown:
        canvas.mark(frame.dot(point), style.mark)
    if best:
        canvas.mark(frame.dot(best), style.best)
    missing = sum(point is None for point in (*curve, *marks))
    legend = _legend(style, any(curve), bool(shown), best, missing)
    return [*frame.lines(canvas.rows()), *_wrapped(legend, width)]


def _finite(points: Iterable[Point]) -> list[Point | None]:
    """The points in the order of their steps, None for each that cannot be drawn."""
    ordered = sorted((point for point in points if math.isfinite(point[0])), key=lambda p: p[0])
    return [point if math.isfinite(point[1]) else None for point in ordered]


def _segments(points: Sequence[Point | None]) -> Iterator[tuple[Point, Point]]:
    """Neighbours, and each point with itself: one between two gaps is a dot."""
    for index, point in enumerate(points):
        if point is None:
            continue
        yield point, point
        after = points[index + 1] if index + 1 < len(points) else None
        if after is not None:
            yield point, after


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where a step and a loss lie on the drawing, and the axes around it."""

    left: float
    right: float
    low: float
    high: float
    columns: int
    height: int
    style: Style
    labels: tuple[str, str]  # top, bottom

    @classmethod
    def around(cls, points: Sequence[Point], width: int, height: int, style: Style) -> _Frame:
        steps, losses = [point[0] for point in points], [point[1] for point in points]
        low, high = min(losses), max(losses)
        labels = (_number(high), _number(low))
        columns = width - max(map(len, labels)) - 2
        return cls(min(steps), max(steps), low, high, columns, height, style, labels)

    def dot(self, point: Point) -> tuple[int, int]:
        """Column and row of a point, in dots from the top left."""
        across = self.columns * self.style.across - 1
        down = self.height * self.style.down - 1
        x = _share(point[0], self.left, self.right, alone=0.0)
        y = _share(point[1], self.low, self.high, alone=0.5)
        return round(x * across), round((1 - y) * down)

    def lines(self, rows: Sequence[str]) -> Iterator[str]:
        """The rows between their axes, and the steps below."""
        style, room = self.style, max(map(len, self.labels))
        labelled = {
            self.dot((self.left, loss))[1] // style.down: label
            for loss, label in zip((self.low, self.high), self.labels[::-1], strict=True)
        }  # one label where the line is level
        for number, row in enumerate(rows):
            label = labelled.get(number, "")
            side = style.tick if label else style.side
            yield f"{label:>{room}} {side}{row}".rstrip()
        yield " " * (room + 1) + style.corner + style.floor * self.columns
        first, last = _step(self.left), f"step {_step(self.right)}"
        between = self.columns - len(first) - len(last)
        under = first + " " * between + last if between > 0 else last[-self.columns :]
        yield " " * (room + 2) + under


class _Canvas:
    """Dots, and marks over them."""

    def __init__(self, columns: int, height: int, style: Style) -> None:
        self._style = style
        self._dots: list[list[int]] = [[0] * columns for _ in range(height)]
        self._marks: dict[tuple[int, int], str] = {}

    def line(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Every dot on the straight line between two, both included."""
        across, down = end[0] - start[0], end[1] - start[1]
        steps = max(abs(across), abs(down), 1)
        for index in range(steps + 1):
            share = index / steps
            self._dot(round(start[0] + share * across), round(start[1] + share * down))

    def _dot(self, x: int, y: int) -> None:
        (row, down), (column, across) = (
            divmod(y, self._style.down),
            divmod(x, self._style.across),
        )
        self._dots[row][column] |= _BITS[down][across]

    def mark(self, at: tuple[int, int], symbol: str) -> None:
        self._marks[at[1] // self._style.down, at[0] // self._style.across] = symbol

    def rows(self) -> list[str]:
        return [
            "".join(self._marks.get((y, x)) or self._drawn(bits) for x, bits in enumerate(row))
            for y, row in enumerate(self._dots)
        ]

    def _drawn(self, bits: int) -> str:
        if not bits:
            return " "
        return chr(0x2800 + bits) if self._style.down > 1 else self._style.line


def _legend(style: Style, curve: bool, marks: bool, best: Point | None, missing: int) -> list[str]:
    said = [f"{style.line} training loss"] if curve else []
    said += [f"{style.mark} validation loss"] if marks else []
    said += [f"{style.best} best {_number(best[1])} at step {_step(best[0])}"] if best else []
    said += [f"{missing} not a number"] if missing else []
    return said


def _wrapped(parts: Sequence[str], width: int) -> Iterator[str]:
    line = ""
    for part in parts:
        if line and len(line) + 3 + len(part) > width:
            yield line[:width]
            line = part
        else:
            line = f"{line}   {part}" if line else part
    yield line[:width]


def _share(value: float, low: float, high: float, *, alone: float) -> float:
    """Where `value` lies from `low` (0) to `high` (1), or `alone` where these are the same."""
    span = high / 2 - low / 2  # halves: a difference may overflow
    return (value / 2 - low / 2) / span if span > 0 else alone


def _number(value: float) -> str:
    if 1 <= abs(value) < 1e6:
        return f"{value:.2f}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{value:.3g}"


def _step(value: float) -> str:
    return f"{value:,.0f}" if abs(value) < 1e12 else f"{value:.3g}"
