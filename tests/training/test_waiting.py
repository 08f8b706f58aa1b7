"""Threads sleep while others work on the machine, and wait awake while nobody does."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from phoundry.training import waiting
from phoundry.training.waiting import OtherWork, Waiting, changes

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's counts")


def test_they_sleep_while_others_work_and_no_longer() -> None:
    between = (waiting.QUIET + waiting.BUSY) / 2
    with Waiting(active=True, others=lambda: None) as it:
        seen = [it.asleep]
        for found in (None, between, 0.0, between, None, 0.5, between, 0.0):
            it.look(found)
            seen.append(it.asleep)
    assert seen == [True, True, True, False, False, False, True, True, False]
    assert not it.asleep


@pytest.fixture(autouse=True)
def no_helper_of_before() -> None:
    """A helper that a test before has sent away ends a moment later."""
    for each in helpers():
        each.join(60)


def helpers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == waiting.HELPER]


def test_it_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.001)
    looked = threading.Event()
    answers = iter([0.0, 0.5, 0.0])

    def others() -> float | None:
        found = next(answers, None)
        if found is None:
            looked.set()
        return found

    with Waiting(active=True, others=others) as it:
        assert looked.wait(30)
        assert not it.asleep
    assert waiting.WATCHER not in [each.name for each in threading.enumerate()]


def test_where_it_is_not_active_nothing_is_done() -> None:
    before = set(threading.enumerate())
    with Waiting(active=False) as it:
        assert set(threading.enumerate()) <= before
        assert not it.asleep


@LINUX
def test_the_helpers_threads_are_there_only_while_the_others_sleep() -> None:
    """What libgomp goes by is how many threads there are: more than processors, or not."""

    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    with Waiting(active=False) as it:
        it.look(0.5)
        (helper,) = helpers()
        busy = threads()
        it.look(0.0)
        helper.join(60)
        assert not helper.is_alive()
        ended = time.monotonic() + 60  # the system's threads end a moment after Python's
        while threads() >= busy and time.monotonic() < ended:
            time.sleep(0.001)
        assert threads() < busy
        it.look(0.5)
        (helper,) = helpers()
    helper.join(60)
    assert not helper.is_alive()


def _stat(**busy: float) -> str:
    """/proc/stat with so many busy seconds, of all kinds, on each processor; and idle ones."""
    ticks = os.sysconf("SC_CLK_TCK")
    lines = ["cpu  1 1 1 1 1 1 1 1 0 0"]
    for name, seconds in busy.items():
        user = round(seconds * ticks) - 15
        lines.append(f"{name} {user} 1 2 777 888 3 4 5 99 99")
    return "\n".join([*lines, "intr 5 6", "ctxt 7", "softirq"]) + "\n"


def _set_clocks(
    monkeypatch: pytest.MonkeyPatch, monotonic: Callable[[], float], own: Callable[[], float]
) -> None:
    """The module's clocks alone: other threads of this process read theirs as ever."""
    clocks = SimpleNamespace(monotonic=monotonic, process_time=own)
    monkeypatch.setattr(waiting, "time", clocks)


@LINUX
def test_other_work_is_all_work_on_our_processors_without_our_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ours are 2 and 3; 1 is off and has no line, 0 is not ours."""
    stat = tmp_path / "stat"

    def allowed(_: int) -> set[int]:
        return {2, 3}

    clocks = {"clock": 10.0, "own": 5.0}

    def now(clock: float, two: float, three: float, own: float) -> None:
        clocks.update(clock=clock, own=own)
        stat.write_text(_stat(cpu0=9 * clock, cpu2=two, cpu3=three))

    monkeypatch.setattr(os, "sched_getaffinity", allowed)
    monkeypatch.setattr(waiting, "STAT", stat)
    _set_clocks(monkeypatch, lambda: clocks["clock"], lambda: clocks["own"])
    now(10.0, 100.0, 50.0, own=5.0)
    work = OtherWork()
    now(10.1, 100.1, 50.0, own=5.1)
    assert work.processors() is None  # too short ago
    now(12.0, 103.0, 51.0, own=7.0)
    assert work.processors() == pytest.approx((4.0 - 2.0) / 2.0)
    now(14.0, 103.5, 52.0, own=8.6)  # clocks differ by a little: never below none
    assert work.processors() == 0.0


@LINUX
@pytest.mark.parametrize(
    ("first", "then"),
    [
        (None, None),
        ("", ""),
        (_stat(cpu0=1.0), _stat(cpu0=9.0)),  # ours is not among them
        (_stat(cpu7=1.0), _stat(cpu7=1.1)),  # our own second is not in it
    ],
    ids=["no file", "empty", "others' processors", "other counts"],
)
def test_where_the_kernel_does_not_tell_nothing_is_said(
    first: str | None, then: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stat = tmp_path / "stat"

    def allowed(_: int) -> set[int]:
        return {7}

    clocks = iter([1.0, 2.0])
    monkeypatch.setattr(os, "sched_getaffinity", allowed)
    monkeypatch.setattr(waiting, "STAT", stat)
    _set_clocks(monkeypatch, clocks.__next__, iter([5.0, 6.0]).__next__)
    if first is not None:
        stat.write_text(first)
    work = OtherWork()
    if then is not None:
        stat.write_text(then)
    assert work.processors() is None


def test_a_helper_that_cannot_be_had_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that it does not get, and a thread that it does not get."""

    def refused(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("torch.ones", refused)
    monkeypatch.setattr(threading, "excepthook", print)
    with Waiting(active=False) as it:
        it.look(0.5)
    started = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == waiting.HELPER:
            raise RuntimeError("can't start new thread")
        started(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with Waiting(active=True, others=lambda: None) as it:
        assert not it.asleep


def test_what_the_user_has_said_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phoundry.training.machine.cores", lambda: 4)
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    assert changes("cpu")
    assert not changes("cuda")
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        with monkeypatch.context() as said:
            said.setenv(name, "1")
            assert not changes("cpu")
    monkeypatch.setattr("phoundry.training.machine.cores", lambda: 1)
    assert not changes("cpu")
    monkeypatch.setattr("phoundry.training.machine.cores", lambda: 4)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not changes("cpu")
