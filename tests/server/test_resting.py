"""The pause between two ticks ends when somebody waits, and not before."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from phoundry.files import write_json
from phoundry.server.resting import Rest
from phoundry.services.context import Context, open_context
from phoundry.services.reconcile import load
from phoundry.services.reconcile.scaling import Scaler
from phoundry.settings import Home

LONG = 30.0  # no pause of a test lasts so long unless it hangs


@pytest.fixture
def context(home: Home) -> Iterator[Context]:
    opened = open_context(home)
    yield opened
    opened.database.close()


class Called(Scaler):
    """Its answers are the test's; it counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asleep = frozenset({"faq/blue"})
        self.wanted = False
        self.asked = 0

    def called(self, context: Context) -> bool:
        self.asked += 1
        return self.wanted


def rested(rest: Rest, seconds: float) -> float:
    began = time.monotonic()
    rest(seconds)
    return time.monotonic() - began


def test_a_report_is_read_only_when_it_was_replaced(context: Context) -> None:
    scaler = Called()
    rest = Rest(context, threading.Event(), scaler)
    assert rested(rest, 0.15) >= 0.15
    assert scaler.asked == 0
    write_json(load.path(context), {"wanted": []})
    assert rested(rest, 0.15) >= 0.15
    assert scaler.asked == 1, "it calls nobody"
    write_json(load.path(context), {"wanted": ["faq/blue"]})
    scaler.wanted = True
    assert rested(rest, LONG) < LONG / 2


def test_where_nothing_sleeps_nothing_is_looked_at(context: Context) -> None:
    scaler = Called()
    scaler.asleep = frozenset()
    rest = Rest(context, threading.Event(), scaler)
    write_json(load.path(context), {"wanted": ["faq/blue"]})
    assert rested(rest, 0.06) >= 0.06
    assert scaler.asked == 0


def test_a_replica_that_is_awaited_ends_it_when_it_is_ready(context: Context) -> None:
    scaler = Called()
    ready = context.home.root / "ready.json"
    scaler.awaited = [ready]
    rest = Rest(context, threading.Event(), scaler)
    assert rested(rest, 0.06) >= 0.06
    ready.write_text("{}")
    assert rested(rest, LONG) < LONG / 2


def test_a_change_over_the_api_ends_it_at_once(context: Context) -> None:
    wake = threading.Event()
    wake.set()
    assert rested(Rest(context, wake, Called()), LONG) < LONG / 2
