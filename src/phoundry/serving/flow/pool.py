"""Threads that run a flow, woken as rarely as possible.

A flow that takes microseconds shall not cost two switches of threads for each request, and one that
waits for a model shall not wait for another's answer. So one thread takes what comes for as long as
it gets on; the next is woken only when nothing has moved for a millisecond.
"""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from phoundry.errors import PhoundryError
from phoundry.flows.errors import FlowUserError, SessionTimeout, UnexpectedError

Found = TypeVar("Found")
STALLED = 0.001  # seconds without a job begun or ended after which another thread is woken
LOOK = 0.5  # seconds between two looks for jobs that take too long


class _Job:
    __slots__ = ("begun", "call", "error", "future", "result")

    def __init__(self, call: Callable[[], Any], future: asyncio.Future[Any], begun: float) -> None:
        self.call, self.future, self.begun = call, future, begun
        self.result: Any = None
        self.error: BaseException | None = None


class Pool:
    """Runs calls on up to `size` threads; to be made and used on the event loop.

    A call that is not done within `timeout` seconds of its asking, waiting included, is answered
    with `SessionTimeout`. Its thread can't be ended: when half of them are lost so, `on_stuck` is
    called once, for somebody to put another process in this one's place.
    """

    def __init__(
        self, size: int, timeout: float, on_stuck: Callable[[], None] = lambda: None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._size, self._timeout, self._on_stuck = size, timeout, on_stuck
        self._waiting: deque[_Job] = deque()
        self._done: deque[_Job] = deque()
        self._open: dict[_Job, None] = {}  # in the order in which they were asked
        self._lost: set[_Job] = set()
        self._tokens: SimpleQueue[None] = SimpleQueue()
        self._lock = threading.Lock()
        self._busy = self._threads = 0
        self._moved = 0.0  # when a job last began or ended
        self._told = self._looking = self._stuck = False
        self._sweep = self._loop.call_later(LOOK, self._expire)

    @property
    def running(self) -> int:
        """Calls that are asked for and not answered."""
        return len(self._open)

    async def run(self, call: Callable[[], Found]) -> Found:
        """What `call` returns or raises, from one of the threads.

        Raises:
            SessionTimeout: it was not done in time.
        """
        job = _Job(call, self._loop.create_future(), time.monotonic())
        self._open[job] = None
        self._waiting.append(job)
        with self._lock:
            idle = self._busy == 0
        if idle or job.begun - self._moved > STALLED:
            self._wake(1)
        elif not self._looking:
            self._looking = True
            self._loop.call_later(STALLED, self._look)
        try:
            return await job.future
        finally:
            self._open.pop(job, None)

    def close(self) -> None:
        """Look after nothing any more; threads end with the process."""
        self._sweep.cancel()

    # on the loop

    def _look(self) -> None:
        """Wake a thread for each job that waits, where those that run do not get on."""
        self._looking = False
        if not self._waiting:
            return
        if time.monotonic() - self._moved > STALLED:
            self._wake(len(self._waiting))
        if self._waiting:
            self._looking = True
            self._loop.call_later(STALLED, self._look)

    def _wake(self, count: int) -> None:
        with self._lock:
            count = min(count, self._size - self._busy)
            self._busy += count
            new = max(0, self._busy - self._threads)
            self._threads += new
        for _ in range(count):
            self._tokens.put(None)
        for number in range(new):
            # Daemons: a tool that hangs shall not keep the process from ending.
            name = f"flow-{self._threads - number}"
            threading.Thread(target=self._work, name=name, daemon=True).start()

    def _expire(self) -> None:
        self._sweep = self._loop.call_later(LOOK, self._expire)
        latest = time.monotonic() - self._timeout
        for job in list(self._open):
            if job.begun > latest:
                break
            if job.future.done():
                continue
            with suppress(ValueError):  # it runs, and its thread is lost until it ends
                self._waiting.remove(job)
                job.call = _nothing
            if job.call is not _nothing:
                self._lost.add(job)
            job.future.set_exception(_too_slow(self._timeout))
        if not self._stuck and len(self._lost) * 2 >= self._size:
            self._stuck = True
            self._on_stuck()

    def _deliver(self) -> None:
        self._told = False
        while self._done:
            job = self._done.popleft()
            self._lost.discard(job)
            if job.future.done():
                continue  # too late, or its client has left
            if job.error is None:
                job.future.set_result(job.result)
            else:
                job.future.set_exception(job.error)

    # in a thread

    def _work(self) -> None:
        while True:
            self._tokens.get()
            while True:
                try:
                    job = self._waiting.popleft()
                except IndexError:
                    with self._lock:
                        # Asked for after we looked: the loop saw us busy and woke nobody.
                        if not self._waiting:
                            self._busy -= 1
                            break
                    continue
                self._moved = time.monotonic()
                self._do(job)
                self._moved = time.monotonic()

    def _do(self, job: _Job) -> None:
        try:
            job.result = job.call()
        except PhoundryError as error:
            job.error = error
        except MemoryError:
            job.error = FlowUserError("The flow ran out of memory.")
        except BaseException as error:  # noqa: BLE001 - of a tool's thread, SystemExit too: told
            traceback.print_exc()
            job.error = UnexpectedError(f"{type(error).__name__}: {error}")
        self._done.append(job)
        if not self._told:
            self._told = True
            with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                self._loop.call_soon_threadsafe(self._deliver)


def _nothing() -> None:
    return None


def _too_slow(limit: float) -> SessionTimeout:
    return SessionTimeout(
        f"The flow did not finish within {limit:g} seconds.",
        remedy="Allow it more with --timeout, or look for what the tool waits for.",
    )
