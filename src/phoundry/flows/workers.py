"""Threads and the event loop that nodes run on, shared by every flow of the process.

A node that hangs keeps its thread and nobody else's: there is no fixed number of threads, an idle
one is taken or a new one made, and who submits limits how many of its own run. All are daemons, so
what was left behind never holds the process up.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

IDLE_SECONDS = 30.0
Work = tuple[Callable[..., object], tuple[Any, ...]]


class Workers:
    """`submit` starts a function at once, in a thread of its own as long as it runs."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._free = 0  # idle threads less the work that waits for one

    def submit(self, function: Callable[..., object], *arguments: Any) -> None:
        """`function` must let no exception out."""
        with self._lock:
            free = self._free > 0
            if free:
                self._free -= 1
        self._waiting.put((function, arguments))
        if not free:
            threading.Thread(target=self._work, name="node", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                function, arguments = self._waiting.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._free > 0:
                        self._free -= 1
                        return
                continue  # work was promised to this thread just now
            function(*arguments)
            del function, arguments  # nothing is kept alive while idle
            with self._lock:
                self._free += 1


class Loop:
    """One event loop in a thread of its own, for the async tools of the process."""

    def __init__(self) -> None:
        import asyncio  # here and below: most flows have no async tool, and it takes long

        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run_forever, name="async nodes", daemon=True).start()

    def _run_forever(self) -> None:
        """A task that ends with SystemExit or KeyboardInterrupt has them as its result, but stops
        the loop, too; everything else in it goes on."""
        while True:
            with suppress(SystemExit, KeyboardInterrupt):
                self._loop.run_forever()

    def start(
        self, coroutine: Coroutine[Any, Any, Any], context: Context, done: Callable[..., None]
    ) -> list[asyncio.Task[Any]]:
        """Run `coroutine` in `context`; `done` gets its task, on the loop's thread. The task is in
        the list as soon as there is one."""
        begun: list[asyncio.Task[Any]] = []

        def begin() -> None:
            begun.append(self._loop.create_task(coroutine, context=context))
            begun[0].add_done_callback(done)

        self._loop.call_soon_threadsafe(begin)
        return begun

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of `coroutine`, waited for in the calling thread.

        Whoever stops waiting (Ctrl-C) cancels it. Called on the loop's own thread, by an async tool
        that runs a flow in passing, it gets a loop of its own.
        """
        import asyncio

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            return _apart(coroutine)
        ended: queue.SimpleQueue[asyncio.Task[Any]] = queue.SimpleQueue()
        begun = self.start(coroutine, copy_context(), ended.put)
        try:
            task = ended.get()
        except BaseException:
            self._loop.call_soon_threadsafe(lambda: begun[0].cancel())
            raise
        return task.result()


def _apart(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of `coroutine`, in a thread and a loop of its own."""
    results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        import asyncio

        try:
            results.put((asyncio.run(coroutine), None))
        except BaseException as error:  # noqa: BLE001 - handed to the waiting thread
            results.put((None, error))

    workers().submit(copy_context().run, work)
    value, error = results.get()
    if error is not None:
        raise error
    return value


class _Process:
    """What this process has of each, made when first asked for; a forked child makes its own,
    because threads do not come along."""

    workers: Workers | None = None
    loop: Loop | None = None
    lock = threading.Lock()
    watched = False


def workers() -> Workers:
    with _Process.lock:
        if _Process.workers is None:
            _watch()
            _Process.workers = Workers()
        return _Process.workers


def loop() -> Loop:
    with _Process.lock:
        if _Process.loop is None:
            _watch()
            _Process.loop = Loop()
        return _Process.loop


def _watch() -> None:
    if not _Process.watched and hasattr(os, "register_at_fork"):
        _Process.watched = True
        os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    _Process.workers = _Process.loop = None
    _Process.lock = threading.Lock()
