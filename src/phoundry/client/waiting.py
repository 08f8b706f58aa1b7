"""Asking again until something is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from phoundry.errors import Unavailable

T = TypeVar("T")
SHORTEST, LONGEST = 0.1, 1.0  # seconds between two looks


def wait_for(
    look: Callable[[], T],
    done: Callable[[T], bool],
    *,
    on_change: Callable[[T], None] | None = None,
    alive: Callable[[], bool] = lambda: True,
    timeout: float | None = None,
    what: str = "It",
) -> T:
    """Call `look` until `done`; `on_change` sees each result that differs from the last.

    `alive` says whether somebody is there who moves things on.

    Raises:
        Unavailable: `timeout` seconds have passed, or nobody is there.
    """
    begun, pause = time.monotonic(), SHORTEST
    last: T | None = None
    while True:
        current = look()
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
        if not alive():
            raise stopped(what)
        time.sleep(pause)
        pause = min(LONGEST, pause * 1.5)


def stopped(what: str) -> Unavailable:
    """Nothing moves on: the control plane that did it has ended."""
    return Unavailable(
        f"Phoundry was stopped. {what} is kept as it is.",
        remedy="Start it with `phoundry up`, and everything goes on.",
    )
