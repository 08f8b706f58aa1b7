"""Asking again until something is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from phoundry.errors import Unavailable

T = TypeVar("T")
SHORTEST, LONGEST = 0.1, 1.0  # seconds between two looks
RESTART_SECONDS = 30.0  # in which a control plane that was there may come back


class Stop(threading.Event):
    """Set once nobody waits any more for a call (see `client.aio`)."""

    def __init__(self) -> None:
        super().__init__()
        self.actions = list[Callable[[], None]]()

    def set(self) -> None:
        super().set()
        for action in list(self.actions):
            action()


# Of the call that runs in this context.
STOP: ContextVar[Stop | None] = ContextVar("stop", default=None)


class Abandoned(BaseException):
    """Ends a call that nobody waits for any more. Like KeyboardInterrupt it is no error that a
    program handles, and it never leaves the thread of the call."""


@contextmanager
def on_stop(action: Callable[[], None]) -> Generator[None]:
    """Calls `action`, from another thread, if nobody waits any more for what is done inside."""
    stop = STOP.get()
    if stop is None:
        yield
        return
    stop.actions.append(action)
    try:
        yield
    finally:
        stop.actions.remove(action)


def pause(seconds: float) -> None:
    """Sleep. Raises Abandoned as soon as nobody waits for this call any more."""
    stop = STOP.get()
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        raise Abandoned


class Presence:
    """Whether somebody is there who moves things on, or was a moment ago.

    A control plane may be killed and started again while somebody waits for a job; the job goes on
    meanwhile. So whoever has had an answer once bears its absence for `patience` seconds.
    """

    def __init__(self, alive: Callable[[], bool], patience: float = RESTART_SECONDS) -> None:
        self._alive = alive
        self._patience = patience
        self._seen: float | None = None

    def __bool__(self) -> bool:
        if self._alive():
            self._seen = time.monotonic()
            return True
        return self.bearable

    @property
    def bearable(self) -> bool:
        return self._seen is not None and time.monotonic() - self._seen < self._patience


def wait_for(
    look: Callable[[], T],
    done: Callable[[T], bool],
    *,
    on_change: Callable[[T], None] | None = None,
    alive: Callable[[], bool] = lambda: True,
    timeout: float | None = None,
    patience: float = 0.0,
    what: str = "It",
) -> T:
    """Call `look` until `done`; `on_change` sees each result that differs from the last.

    `alive` says whether somebody is there who moves things on; who was there may be away for
    `patience` seconds.

    Raises:
        Unavailable: `timeout` seconds have passed, or nobody is there.
    """
    begun, between = time.monotonic(), SHORTEST
    last: T | None = None
    presence = Presence(alive, patience)
    while True:
        try:
            current = look()
        except Unavailable:
            if not presence.bearable:
                raise
            pause(LONGEST)
            continue
        if on_change and current != last:
            on_change(current)
        last = current
        if done(current):
            return current
        if timeout is not None and time.monotonic() - begun > timeout:
            raise Unavailable(
                f"{what} is not done after {timeout:g} seconds.",
                remedy="It goes on; look again later.",
            )
        if not presence:
            raise stopped(what)
        pause(between)
        between = min(LONGEST, between * 1.5)


def stopped(what: str) -> Unavailable:
    """Nothing moves on: the control plane that did it has ended."""
    return Unavailable(
        f"Phoundry was stopped. {what} is kept as it is.",
        remedy="Start it with `phoundry up`, and everything goes on.",
    )
