"""The replicas of one deployment: the least loaded is asked, and where there is none, who waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from phoundry.errors import PhoundryError
from phoundry.serving.gateway.upstream import Upstream

# How long a request waits for a replica where one was lost, such as one that crashed and starts
# again, and where a sleeping deployment shows no sign that anybody wakes it.
PATIENCE_SECONDS = 10.0
# How long one that is being woken may take to load its model before requests stop waiting for it.
WAKING_SECONDS = 60.0


class Replicas:
    """Changed in place by a change of the table, so that requests that wait see new replicas."""

    def __init__(self, missing: Callable[[], PhoundryError], patience: float) -> None:
        """`missing` makes the error of a deployment that has none."""
        self._missing = missing
        self._patience = patience
        self._all: list[Upstream] = []
        self._turn = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self._lost_at = -float("inf")  # when the last one refused or left the table
        self.asleep = False
        # Was asleep, is no more, and has no replica yet: until when that is believed.
        self._waking_until = -float("inf")

    @property
    def all(self) -> Sequence[Upstream]:
        return self._all

    def replace(self, upstreams: Sequence[Upstream], *, asleep: bool) -> None:
        """What the table in force says."""
        if self._all and not upstreams:
            self._lost_at = time.monotonic()
        if upstreams or asleep:
            self._waking_until = -float("inf")
        elif self.asleep:
            self._waking_until = time.monotonic() + WAKING_SECONDS
        self.asleep = asleep
        if set(upstreams) - set(self._all):
            self._lost_at = -float("inf")  # a new one: it has patience of its own to lose
        self._all = list(upstreams)
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    def remove(self) -> None:
        """The deployment is no more; whoever waits is told so."""
        self.replace([], asleep=False)
        self._lost_at = -float("inf")
        self._waking_until = -float("inf")

    def pick(self, avoid: Upstream | None = None) -> Upstream | None:
        """The one with the fewest requests of those that accept any; ties go round.

        `avoid` has just broken off, and is taken only where there is no other.
        """
        count = len(self._all)
        if count == 1:
            only = self._all[0]
            return None if only.rests(time.monotonic()) else only
        now = time.monotonic()
        best: Upstream | None = None
        self._turn += 1
        for step in range(count):
            upstream = self._all[(self._turn + step) % count]
            if upstream.rests(now) or upstream is avoid:
                continue
            if best is None or upstream.in_flight < best.in_flight:
                best = upstream
        if best is None and avoid in self._all and not avoid.rests(now):
            return avoid
        return best

    def refused(self, upstream: Upstream) -> None:
        """It accepts no connection, or says that it cannot answer now."""
        upstream.rest()
        if self._lost_at == -float("inf") and self.pick() is None:
            self._lost_at = time.monotonic()

    def answered(self) -> None:
        """One does answer: what was lost is found."""
        self._lost_at = -float("inf")

    async def next(self, avoid: Upstream | None, wake: Callable[[], None]) -> Upstream:
        """`pick`, waiting for a replica where one may be expected.

        `wake` is called where the deployment sleeps.

        Raises:
            PhoundryError: there is none, and none came in time.
        """
        began = time.monotonic()
        while (found := self.pick(avoid)) is None:
            if self.asleep:
                until = began + self._patience
                wake()
            else:
                until = max(self._lost_at + self._patience, self._waking_until)
            now = time.monotonic()
            if now >= until:
                raise self._missing()
            await self._wait(min([until, *(u.resting_until for u in self._all)]) - now)
        return found

    async def _wait(self, seconds: float) -> None:
        """Until the table changes, and no longer than that."""
        loop = asyncio.get_running_loop()
        changed = loop.create_future()
        self._waiting.add(changed)
        timer = loop.call_later(max(seconds, 0.001), _wake, changed)
        try:
            await changed
        finally:
            self._waiting.discard(changed)
            timer.cancel()


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
