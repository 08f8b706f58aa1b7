"""Since when a replica's engine has done nothing, by what its requests tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from phoundry.serving.replica.metrics import Metrics


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    found = Clock()
    with monkeypatch.context() as patch:
        patch.setattr("phoundry.serving.replica.metrics.time", found)
        yield found


def test_who_asks_a_hung_engine_does_not_keep_it_alive(clock: Clock) -> None:
    metrics = Metrics()
    with ExitStack() as asked:
        for _ in range(700):  # one a second
            asked.enter_context(metrics.passage("chat"))
            clock.now += 1
        assert metrics.idle_seconds == 700
        with metrics.passage("chat"):
            clock.now += 1  # its client gives up
        assert metrics.idle_seconds == 701


def test_tokens_answers_and_a_first_request_are_signs_of_life(clock: Clock) -> None:
    metrics = Metrics()
    clock.now += 5000  # nobody asked
    with metrics.passage("chat") as first:
        clock.now += 30
        assert metrics.idle_seconds == 30, "a prompt is being read"
        first.piece(1)
        clock.now += 2
        assert metrics.idle_seconds == 2
        with metrics.passage("chat") as whole:
            clock.now += 3
            whole.status = 200
        clock.now += 1
        assert metrics.idle_seconds == 1
