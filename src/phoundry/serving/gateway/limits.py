"""How many requests a deployment takes at once: some run, as many wait, the rest are refused."""

from __future__ import annotations

import asyncio
from collections import deque

from phoundry.serving.errors import TooManyRequests


class Limiter:
    """At most `limit` requests run and at most `limit` more wait, first come first served.

    Used by one event loop; not safe across threads.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def in_flight(self) -> int:
        return self.running + len(self._waiting)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether the next request would be refused."""
        return self.in_flight >= 2 * self._limit

    def resize(self, limit: int) -> None:
        """Change the limit; requests that run or wait already are kept."""
        self._limit = limit
        while self.running < limit and self._next():
            self.running += 1

    async def enter(self) -> None:
        """Wait for a place. Every return must be followed by one `leave`.

        Raises:
            TooManyRequests: twice the limit is in flight already.
        """
        if self.running < self._limit and not self._waiting:
            self.running += 1
            return
        if self.full:
            raise TooManyRequests(
                f"{self.in_flight} requests are in flight; this deployment takes "
                f"{2 * self._limit} ({self._limit} at once, as many waiting).",
                remedy="Try again later, or raise max_concurrent_requests_per_instance.",
            )
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()  # the place came in the same moment as the cancellation
            elif place in self._waiting:  # `_next` drops one that has just been cancelled
                self._waiting.remove(place)
            raise

    def leave(self) -> None:
        """Give the place to the next one that waits."""
        if self.running > self._limit or not self._next():
            self.running -= 1

    def _next(self) -> bool:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return True
        return False
