"""One process of a pool, seen from its parent: what it was given, and what it takes next."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from phoundry.flows.errors import SessionCrash
from phoundry.flows.session.process import ChildProcess
from phoundry.flows.session.slots import Slots, slots_file

AHEAD = 0.03  # seconds of work that a process holds beyond the lines that run
MOST = 500  # lines in one message
SLOW = 20.0  # lines a second; slower ones are not handed out ahead of their turn
Heard = Callable[["Member", dict[str, Any] | None], None]


class Member:
    """Runs `workers` lines at a time in a process of its own, opened with `opening`."""

    def __init__(
        self,
        folder: Path,
        opening: dict[str, Any],
        workers: int,
        heard: Heard,
        python: str | None = None,
        secrets: Sequence[str] = (),
    ) -> None:
        descriptor = slots_file(workers)
        try:
            self.slots = Slots(descriptor, workers)
            self.child = ChildProcess(
                folder,
                python=python,
                slots=(descriptor, workers),
                heard=lambda answer: heard(self, answer),
            )
        finally:
            os.close(descriptor)
        self.child.secrets.update(secrets)
        self.workers = workers
        self.given: dict[int, Mapping[str, Any]] = {}
        self.opened: float | None = None  # when, on the monotonic clock
        self.started = time.monotonic()
        self.alone = False  # it runs a line that was interrupted once, and no other beside it
        self.kept: set[int] = set()  # lines with values that can't leave it
        self.guilty: set[int] = set()  # lines for which it is being ended
        self._rate = 0.0  # lines a second
        self._heard_at = 0.0
        self._ran_at = 0.0  # when a line was last seen to run
        self._outbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._send, daemon=True).start()
        self.say(opening)

    def say(self, request: dict[str, Any]) -> None:
        """Send `request` without waiting for who reads it."""
        self._outbox.put(request)

    def give(self, lines: list[tuple[int, Mapping[str, Any]]]) -> None:
        if not self.given:
            self._heard_at = time.monotonic()
        self.given.update(lines)
        self.say({"op": "lines", "lines": lines})

    def took(self, count: int) -> None:
        """Note that `count` lines have come back."""
        now = time.monotonic()
        rate = count / max(now - self._heard_at, 1e-4)
        self._rate = rate if not self._rate else 0.7 * self._rate + 0.3 * rate
        self._heard_at = now

    def room(self) -> int:
        """How many more lines it should be given now."""
        if self.opened is None or self.alone:
            return 0
        if self._rate < SLOW * self.workers:
            return self.workers - len(self.given)
        ahead = self.workers + min(int(self._rate * AHEAD), MOST)
        # Half of it at once, so that a message always holds many.
        return ahead if len(self.given) <= ahead else 0

    def late(self, timeout: float) -> set[int]:
        """The lines that have run for longer than `timeout` seconds."""
        before = time.monotonic() - timeout
        running = self.slots.running()
        return {number for number in running.keys() & self.given if running[number] < before}

    def stuck(self, timeout: float) -> bool:
        """Whether it has had lines for longer than `timeout` seconds and begins none of them."""
        if self.opened is None or not self.given or self.running():
            self._ran_at = time.monotonic()
            return False
        return time.monotonic() - max(self._heard_at, self._ran_at) > timeout

    def running(self) -> set[int]:
        """The lines that have begun, also of a process that is gone."""
        return self.slots.running().keys() & self.given

    def close(self) -> None:
        self._outbox.put(None)
        self.child.close()

    def _send(self) -> None:
        while (request := self._outbox.get()) is not None:
            with suppress(SessionCrash):  # its end is heard of from its answers
                self.child.say(request)
