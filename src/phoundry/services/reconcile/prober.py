"""Asks replicas how they are, in one thread with an event loop of its own.

The reconciler never waits for a replica: it says whom to watch, and reads what is known. A replica
that hangs costs one open connection until its probe's timeout.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping

from phoundry.services.reconcile.probing import Question, Schedule, Target, Verdict

AT_ONCE = 32  # questions that are open at one time
REST_SECONDS = 60.0  # where nobody is watched

Ask = Callable[[Question], Awaitable[bool]]


# A replica of an older release, which an upgrade left running, lacks these paths and refuses them.
# That it says so is life; and it was ready once, or nobody would ask.
_GOOD = (200, 401, 404)


async def ask(question: Question) -> bool:
    """Whether `GET /health/live` or `/health/ready` of a replica answers well, and in time."""
    try:
        async with asyncio.timeout(question.timeout):
            return await _status(question.port, f"/health/{question.kind}") in _GOOD
    except (OSError, TimeoutError, ValueError):
        return False


async def _status(port: int, path: str) -> int:
    """The status that a replica on this machine answers. Raises ValueError for no HTTP at all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        line = await reader.readline()
    finally:
        writer.close()
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/"):
        raise ValueError("no HTTP")
    return int(rest[:3])


class Prober:
    """Watches processes until `close`. Safe to call from any thread.

    `changed` is called, in the prober's thread, when a verdict has changed.
    """

    def __init__(
        self,
        *,
        changed: Callable[[], None] = lambda: None,
        ask: Ask = ask,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._changed = changed
        self._ask = ask
        self.clock = clock
        self._schedule = Schedule()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._closing = False

    def watch(self, targets: Mapping[str, Target]) -> dict[str, Verdict]:
        """Watch these processes and no others; what is known of them."""
        with self._lock:
            news = self._schedule.watch(targets, self.clock())
            known = self._schedule.verdicts()
        if targets and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="prober", daemon=True)
            self._thread.start()
        if news:
            self._tell()
        return known

    def close(self) -> None:
        """End the thread; questions that are open are given up."""
        self._closing = True
        self._tell()
        if self._thread:
            self._thread.join(timeout=5)

    def _tell(self) -> None:
        """Let the thread look at the schedule again."""
        loop, news = self._loop, self._news
        if loop and news and not loop.is_closed():
            loop.call_soon_threadsafe(news.set)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._news = asyncio.get_running_loop(), asyncio.Event()
        places = asyncio.Semaphore(AT_ONCE)
        asked: set[asyncio.Task[None]] = set()
        while not self._closing:
            self._news.clear()
            with self._lock:
                questions = self._schedule.due(self.clock())
                due = self._schedule.next_due()
            for question in questions:
                task = asyncio.create_task(self._put(question, places))
                asked.add(task)
                task.add_done_callback(asked.discard)
            rest = REST_SECONDS if due is None else max(0.0, due - self.clock())
            try:
                async with asyncio.timeout(min(rest, REST_SECONDS)):
                    await self._news.wait()
            except TimeoutError:
                continue
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    async def _put(self, question: Question, places: asyncio.Semaphore) -> None:
        async with places:
            success = await self._ask(question)
        with self._lock:
            changed = self._schedule.answer(question, success)
        if self._news:
            self._news.set()  # its next question has a time now
        if changed:
            self._changed()
