"""Waiting while the control plane is away for a moment, and when it stays away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from phoundry.client import waiting
from phoundry.client.jobs import follow_log
from phoundry.client.waiting import Presence, wait_for
from phoundry.errors import Unavailable
from phoundry.specs.job import LogChunk


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(waiting, "time", made)
    return made


def away(clock: Clock, start: float, end: float) -> bool:
    return start <= clock.now - 100 < end


def test_a_log_goes_on_after_a_restart_without_a_gap(clock: Clock) -> None:
    text = "".join(f"line {number}\n" for number in range(40))

    def read(offset: int) -> LogChunk:
        if away(clock, 3, 5):
            raise Unavailable("Nothing answers.")  # cut off in the middle of an answer
        written = text[: int((clock.now - 100) * 20)]  # the worker goes on writing
        end = min(len(written), offset + 7)
        return LogChunk(text=written[offset:end], offset=end, finished=end == len(text))

    pieces: list[str] = []
    for piece in follow_log(read, lambda: not away(clock, 3, 9), "Job x"):
        pieces.append(piece)
        clock.sleep(0.1)
    assert "".join(pieces) == text


def test_a_log_whose_control_plane_stays_away_ends_with_the_way_on(clock: Clock) -> None:
    def read(offset: int) -> LogChunk:
        return LogChunk(text="one" if offset == 0 else "", offset=3, finished=False)

    pieces: Iterator[str] = follow_log(read, lambda: clock.now < 104, "Job x")
    assert next(pieces) == "one"
    with pytest.raises(Unavailable, match=r"was stopped\. Job x is kept.*phoundry up"):
        next(pieces)
    assert 104 + waiting.RESTART_SECONDS - 1 < clock.now < 104 + waiting.RESTART_SECONDS + 2


def test_a_refusal_that_lasts_is_not_borne_for_ever(clock: Clock) -> None:
    def look() -> int:
        if clock.now > 102:
            raise Unavailable("It is starting.")
        return 1

    with pytest.raises(Unavailable, match="It is starting"):
        wait_for(look, lambda _: False, patience=15.0)
    assert clock.now < 102 + 15 + 3


def test_without_patience_an_absence_ends_the_waiting_at_once(clock: Clock) -> None:
    with pytest.raises(Unavailable, match="was stopped"):
        wait_for(lambda: 1, lambda _: False, alive=lambda: clock.now < 103)
    assert clock.now < 105


def test_whoever_was_never_there_is_not_waited_for(clock: Clock) -> None:
    assert not Presence(lambda: False, 15.0)
    assert clock.now == 100
