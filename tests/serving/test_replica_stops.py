"""Stop strings: however the text is cut, the same comes out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from phoundry.serving.replica.stops import StopStrings

TEXT = st.text("ab\n", max_size=30)


@settings(deadline=None)
@given(st.lists(TEXT, max_size=12), st.lists(st.text("ab\n", min_size=1, max_size=5), max_size=4))
def test_what_comes_out_is_the_text_before_the_first_stop(
    pieces: list[str], stops: list[str]
) -> None:
    matcher = StopStrings(stops)
    out = "".join(matcher.feed(piece) for piece in pieces) + matcher.rest()
    text = "".join(pieces)
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    assert matcher.stopped == bool(ends)
    # Which of two overlapping stops is seen first depends on where the text was cut; nothing of
    # the one that was seen, and no whole other one, may come out.
    assert text.startswith(out)
    assert not any(stop in out for stop in stops)
    if len(stops) == 1 or not ends:
        assert out == (text[: min(ends)] if ends else text)


@settings(deadline=None)
@given(st.lists(TEXT, max_size=12))
def test_without_stops_nothing_is_held_back(pieces: list[str]) -> None:
    matcher = StopStrings(())
    assert [matcher.feed(piece) for piece in pieces] == pieces


def test_only_what_may_be_a_stop_is_held_back() -> None:
    matcher = StopStrings(["END"])
    assert [matcher.feed(piece) for piece in ("abcE", "N", "x", "E", "ND", "more")] == [
        "abc", "", "ENx", "", "", ""
    ]  # fmt: skip
    assert matcher.stopped
    assert matcher.rest() == ""
