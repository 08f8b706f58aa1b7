"""The pause between two ticks ends when somebody waits, and not before."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from phoundry.files import write_json
from phoundry.server.resting import SOON_SECONDS, Rest
from phoundry.services.context import Context, open_context
from phoundry.services.reconcile import load, pace
from phoundry.services.reconcile.scaling import Scaler
from phoundry.settings import Home
from phoundry.store.tables import JobRow

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


def rested(rest: Rest, seconds: float, folders: Iterable[Path] = ()) -> float:
    began = time.monotonic()
    rest(seconds, folders)
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


@pytest.fixture
def still(context: Context) -> Rest:
    """Where nothing sleeps."""
    return Rest(context, threading.Event(), Scaler())


def test_what_a_tick_has_changed_is_gone_on_with_soon(context: Context, still: Rest) -> None:
    still.begin()
    with context.database.begin() as session:
        session.add(JobRow(workspace="default", name="one", run_dir="", status="Queued", spec={}))
    assert rested(still, LONG) < LONG / 2


def test_a_tick_that_only_looks_is_followed_by_a_whole_pause(context: Context, still: Rest) -> None:
    pace.of(context)  # the first look of a connection
    still.begin()
    pace.of(context)
    assert rested(still, 3 * SOON_SECONDS) >= 3 * SOON_SECONDS


@pytest.mark.parametrize("name", ["ready.json", "result.json"])
def test_a_worker_that_tells_something_calls_the_next_tick(
    tmp_path: Path, still: Rest, name: str
) -> None:
    still(0.0, [tmp_path])
    still.begin()
    with later(lambda: write_json(tmp_path / name, {})):
        assert rested(still, LONG, [tmp_path]) < LONG / 2


def test_so_does_one_that_begins_and_one_that_dies(tmp_path: Path, still: Rest) -> None:
    lock = tmp_path / "lock"
    still(0.0, [tmp_path])
    still.begin()
    with lock.open("w") as held:
        with later(lambda: fcntl.flock(held, fcntl.LOCK_EX)):
            assert rested(still, LONG, [tmp_path]) < LONG / 2
        still.begin()
        with later(held.close):
            assert rested(still, LONG, [tmp_path]) < LONG / 2


def test_what_a_worker_tells_during_the_tick_is_not_missed(tmp_path: Path, still: Rest) -> None:
    still(0.0, [tmp_path])
    still.begin()
    write_json(tmp_path / "result.json", {})
    assert rested(still, LONG, [tmp_path]) < LONG / 2


@contextmanager
def later(change: Callable[[], object]) -> Generator[None]:
    timer = threading.Timer(0.1, change)
    timer.start()
    yield
    timer.join()
