"""How the threads of a product wait for one another: awake, or asleep.

A thread that waits awake goes on at once; one that sleeps must be woken, and between the many small
steps of a layer that adds up. But on a processor that other work wants too, a thread that is awake
for nothing takes the time from the very thread that it waits for. Neither is right for a machine
whose user comes and goes, so this changes with what else is running.

torch's threads on Linux are libgomp's. They wait awake for 300,000 looks, or for 1,000 while there
are more of them than processors (GOMP_SPINCOUNT in its manual). A helper with threads of its own,
which do nothing, makes them more. Figures: docs/design/training.md.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from phoundry.training import machine

# Seconds between two looks, and before the first. Times of processors are counted in hundredths of
# a second: less than the last of these says nothing.
LOOK_SECONDS, FIRST_SECONDS, SHORTEST_SECONDS = 1.0, 0.3, 0.2
# Processors that others keep busy, from which threads sleep, and below which they don't.
BUSY, QUIET = 0.15, 0.08
# Of our own work the kernel's counts hold at least so much, if they are of our processors.
TOLD = 0.5
STAT = Path("/proc/stat")
# user, nice, system, irq, softirq and steal; not idle and iowait.
_COUNTED = (True, True, True, False, False, True, True, True)
WATCHER, HELPER = "looks for other work", "more threads than processors"


class OtherWork:
    """How busy other processes, and other guests of the host, keep this process's processors."""

    def __init__(self) -> None:
        self._last = self._read()

    def processors(self) -> float | None:
        """How many, on average since the last answer; None: too short ago to say, or the kernel
        does not tell (in some containers)."""
        last, now = self._last, self._read()
        if last is None or now is None:
            return None
        seconds, busy, own = (after - before for before, after in zip(last, now, strict=True))
        if seconds < SHORTEST_SECONDS:
            return None
        self._last = now
        if busy < TOLD * own:  # these are not the processors that we run on
            return None
        return max(0.0, busy - own) / seconds

    def _read(self) -> tuple[float, float, float] | None:
        """Seconds: the clock, all work on our processors, and our own."""
        try:
            text = STAT.read_text()
        except OSError:
            return None
        busy = _busy_seconds(text, os.sched_getaffinity(0))
        return None if busy is None else (time.monotonic(), busy, time.process_time())


def _busy_seconds(text: str, ours: set[int]) -> float | None:
    """What all work, and other guests, took of the processors `ours`; None: one is not named.

    A line of /proc/stat is `cpu7 user nice system idle iowait irq softirq steal …` in ticks (proc
    manual, section 5). Processors that are off have none, so that places are not numbers.
    """
    lines = {name: rest for name, *rest in map(str.split, text.splitlines()) if rest}
    named = [lines.get(f"cpu{number}") for number in ours]
    busy = 0
    for ticks in named:
        if ticks is None or len(ticks) < len(_COUNTED):
            return None
        busy += sum(int(tick) for tick, counted in zip(ticks, _COUNTED, strict=False) if counted)
    return busy / os.sysconf("SC_CLK_TCK")


class Waiting:
    """Lets the threads sleep while others work on the machine: a context manager, which looks about
    every second from a thread of its own. Until the first look, a moment after the start, it is
    taken to be busy: that costs a quiet machine little, and the opposite a busy one much.

    Args:
        active: False: nothing is changed.
        others: processors that other work keeps busy (`OtherWork.processors`).
    """

    def __init__(self, *, active: bool, others: Callable[[], float | None] | None = None) -> None:
        self._active, self._others = active, others
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=WATCHER, daemon=True)
        self._end: threading.Event | None = None

    @property
    def asleep(self) -> bool:
        """Whether threads that wait are put to sleep soon."""
        return self._end is not None

    def look(self, found: float | None) -> None:
        """Take in how many processors other work keeps busy."""
        if found is None:
            return
        if found >= BUSY and not self.asleep:
            self._sleep()
        elif found < QUIET and self.asleep:
            self._wake()

    def __enter__(self) -> Self:
        if self._active:
            self._sleep()
            self._watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._active:
            self._watcher.join()
        self._wake()

    def _watch(self) -> None:
        others = self._others or OtherWork().processors
        pause = FIRST_SECONDS
        while not self._over.wait(pause):
            self.look(others())
            pause = LOOK_SECONDS

    def _sleep(self) -> None:
        ready, self._end = threading.Event(), threading.Event()
        told = (ready, self._end)
        helper = threading.Thread(target=_idle_threads, args=told, name=HELPER, daemon=True)
        try:
            helper.start()
        except RuntimeError:  # no more threads for us: then they stay awake
            self._end = None
            return
        ready.wait()

    def _wake(self) -> None:
        if self._end is not None:
            self._end.set()
        self._end = None


def changes(device: str) -> bool:
    """Whether threads may be told how to wait: on Linux, on a processor of several cores, and where
    the user has not said it."""
    said = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys()
    return sys.platform.startswith("linux") and device == "cpu" and machine.cores() > 1 and not said


def _idle_threads(ready: threading.Event, end: threading.Event) -> None:
    """A product's threads are the caller's own: those of this one come on top."""
    import torch

    try:
        torch.ones(1 << 20).add_(1)
    finally:
        ready.set()
    end.wait()
