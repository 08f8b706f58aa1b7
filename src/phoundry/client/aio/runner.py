"""Synchronous clients at the service of an asynchronous one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar, cast

from phoundry.client.aio.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phoundry.client.client import Client

T = TypeVar("T")
AT_ONCE = 16  # calls that run side by side; waits are not counted: none keeps others out
END: Any = object()


class Runner:
    """Runs calls on synchronous clients, of which each serves one call at a time.

    `make` makes a client. Those that are idle serve the next calls.
    """

    def __init__(self, make: Callable[[], Client]) -> None:
        first = make()
        self.home = first.home
        self._make = make
        self._idle = [first]
        self._lock = threading.Lock()
        self._closed = False
        self._places = asyncio.Semaphore(AT_ONCE)

    async def call(self, work: Callable[[Client], T], *, counted: bool = True) -> T:
        """What `work` returns or raises. `counted`: it takes one of the places there are."""

        def run() -> T:
            client = self._take()
            try:
                return work(client)
            finally:
                self._give(client)

        async with self._places if counted else nullcontext():
            return await in_thread(run)

    def iterate(self, begin: Callable[[Client], Iterator[T]]) -> AsyncGenerator[T]:
        """The items of an iterator, each fetched when it is asked for."""

        def items() -> Generator[T]:
            client = self._take()
            try:
                yield from begin(client)
            finally:
                self._give(client)

        return stepped(items())

    @asynccontextmanager
    async def opened(
        self, begin: Callable[[Client], AbstractContextManager[Iterator[T]]]
    ) -> AsyncGenerator[AsyncIterator[T]]:
        """A context that gives an iterator."""

        def items(client: Client) -> Generator[T | None]:
            with begin(client) as found:
                yield None  # it is open
                yield from found

        feed = cast("AsyncGenerator[T]", self.iterate(items))
        try:
            await anext(feed)
            yield feed
        finally:
            await feed.aclose()

    async def lend(self, begin: Callable[[Client], T]) -> tuple[T, Callable[[], None]]:
        """What `begin` returns, over a client that is its alone until the function is called."""
        client = await in_thread(self._take)
        return await in_thread(lambda: begin(client)), lambda: self._give(client)

    async def close(self) -> None:
        """Let go of every connection; calls that still run let go of theirs when they end."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for client in idle:
            await in_thread(client.close)

    def _take(self) -> Client:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._make()

    def _give(self, client: Client) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(client)
                return
        client.close()


async def stepped(
    items: Iterator[T],
    *,
    lock: threading.Lock | None = None,
    abandon: Callable[[], None] = lambda: None,
) -> AsyncGenerator[T]:
    """The items of an iterator that runs on threads, one step at a time, and is closed at the end.

    Args:
        lock: held while it runs; of those that share one, one runs at a time.
        abandon: called when a step is cancelled, to make that step end.
    """
    running = lock or threading.Lock()

    def closing() -> Generator[T]:
        yield from items  # closes them with itself

    steps = closing()

    def step() -> T:
        with running:
            return next(steps, END)

    def close() -> None:
        with running:
            steps.close()

    try:
        while (item := await in_thread(step)) is not END:
            yield item
    except asyncio.CancelledError:
        abandon()
        # The step may still run: whoever cancels does not wait for it.
        threading.Thread(target=close, daemon=True).start()
        raise
    except GeneratorExit:
        await in_thread(close)
        raise
