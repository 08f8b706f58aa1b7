"""Pieces of an answer on their way from the flow's threads to a client."""

from __future__ import annotations

import asyncio
from collections import deque

from phoundry.errors import Cancelled


class Feed:
    """`put` is called from threads, all else on the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._pieces: deque[tuple[str, str]] = deque()
        self._closed = False

    def put(self, output: str, text: str) -> None:
        """Send a piece of an output on.

        Raises:
            Cancelled: the client has left, and the flow need not go on.
        """
        if self._closed:
            raise Cancelled("The client left before its answer was complete.")
        self._pieces.append((output, text))
        self._loop.call_soon_threadsafe(self._event.set)

    def wake(self) -> None:
        """No more pieces come."""
        self._event.set()

    def close(self) -> None:
        self._closed = True

    async def take(self) -> list[tuple[str, str]]:
        """The pieces that have come since, once there are some or `wake` was called."""
        await self._event.wait()
        self._event.clear()
        return self.rest()

    def rest(self) -> list[tuple[str, str]]:
        """The pieces that are there."""
        found: list[tuple[str, str]] = []
        while self._pieces:
            found.append(self._pieces.popleft())
        return found
