"""Tells the reconciler at once that something may have changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Waking:
    """Calls `wake` after every request that is not a reading one."""

    def __init__(self, app: Any, *, wake: Callable[[], None]) -> None:
        self.app = app
        self.wake = wake

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)
        if scope["type"] == "http" and scope["method"] not in _READING:
            self.wake()
