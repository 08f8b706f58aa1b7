"""The drawn loss curve: what it shows, and that it never breaks a terminal."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.cli.curve import ASCII, BRAILLE, NARROWEST, Point, Style, chart, style_for

LOSSES = st.floats(allow_nan=True, allow_infinity=True)
POINTS = st.lists(st.tuples(st.integers(0, 10**9), LOSSES), max_size=40)
STYLES = st.sampled_from([BRAILLE, ASCII])
FALLING = [(step, 4.0 - step / 50) for step in range(0, 101, 10)]


def columns(lines: list[str], style: Style) -> list[list[int]]:
    """For each column of the drawing, the rows in which something is."""
    rows = [line.partition(style.tick)[2] or line.partition(style.side)[2] for line in lines[:10]]
    width = max(map(len, rows))
    return [[y for y, row in enumerate(rows) if row[x : x + 1].strip()] for x in range(width)]


@given(POINTS, POINTS, st.integers(0, 300), st.integers(2, 40), STYLES)
def test_no_line_is_wider_than_asked(
    training: list[Point], validation: list[Point], width: int, height: int, style: Style
) -> None:
    lines = chart(training, validation, best_step=3, width=width, height=height, style=style)
    drawable = [p for p in (*training, *validation) if math.isfinite(p[1])]
    assert bool(lines) == (len(drawable) >= 2 and width >= NARROWEST)
    assert all(len(line) <= width for line in lines)
    assert not any("\n" in line or "\x1b" in line for line in lines)


@given(POINTS, POINTS)
def test_ascii_is_ascii(training: list[Point], validation: list[Point]) -> None:
    lines = chart(training, validation, best_step=1, style=ASCII)
    assert "\n".join(lines).isascii()


@given(st.floats(0.01, 1e6), st.floats(1.01, 1e3), STYLES)
def test_the_axis_rises_and_names_the_ends(low: float, factor: float, style: Style) -> None:
    lines = chart([(1, low * factor), (7, low)], width=60, style=style)
    top, bottom = (lines[row].rpartition(" " + style.tick)[0] for row in (0, 9))
    assert float(top) >= float(bottom)
    assert float(top) == pytest.approx(low * factor, rel=0.01, abs=0.005)
    assert float(bottom) == pytest.approx(low, rel=0.01, abs=0.005)
    assert lines[11].split() == ["1", "step", "7"]


@pytest.mark.parametrize("style", [BRAILLE, ASCII])
def test_a_falling_loss_falls_from_corner_to_corner(style: Style) -> None:
    found = columns(chart(FALLING, width=60, style=style), style)
    assert all(found), "a line between points has no holes"
    assert 0 in found[0]
    assert 9 in found[-1]
    tops = [min(rows) for rows in found]
    assert tops == sorted(tops)


@given(st.lists(st.floats(0, 10), min_size=2, max_size=30))
def test_the_order_of_points_does_not_matter(losses: list[float]) -> None:
    points = list(enumerate(losses))
    assert chart(points[::-1]) == chart(points)


def test_the_same_value_all_along_is_a_level_line() -> None:
    lines = chart([(1, 2.0), (9, 2.0)], width=40)
    (row,) = [line for line in lines[:10] if "┤" in line]
    assert row.startswith("2.00 ┤")
    assert len(row.split("┤")[1]) == 34
    assert all(line.strip() == "│" for line in lines[:10] if line is not row)


def test_validation_points_are_marked_and_the_best_stands_out() -> None:
    lines = chart(FALLING, [(0, 4.0), (50, 2.5), (100, 3.0)], best_step=50, width=60)
    drawing = "\n".join(lines[:10])
    assert (drawing.count("●"), drawing.count("★")) == (2, 1)
    assert lines[-1] == "⠤ training loss   ● validation loss   ★ best 2.50 at step 50"


def test_what_is_no_number_leaves_a_gap_and_is_counted() -> None:
    points = [(0, 1.0), (10, 1.0), (20, math.nan), (30, math.inf), (40, 1.0)]
    lines = chart(points, width=60)
    found = columns(lines, BRAILLE)
    assert found[-1]
    assert not any(found[len(found) // 3 : -1])
    assert lines[-1].endswith("2 not a number")


def test_validation_alone_can_be_drawn() -> None:
    assert "training" not in chart([], [(0, 4.0), (50, 2.5)])[-1]


def test_braille_only_where_the_encoding_has_it() -> None:
    assert style_for("utf-8") is BRAILLE
    for encoding in ("ascii", "latin-1", "no-such-encoding", None):
        assert style_for(encoding) is ASCII
