"""Requests in flight, and what cuts them off: client left, key revoked, time over."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Container
from types import TracebackType
from typing import Any

from phoundry.errors import Cancelled, PhoundryError, Unauthenticated
from phoundry.serving.asgi import Client
from phoundry.serving.errors import RequestTimeout
from phoundry.serving.gateway.auth import KeyIndex


class Passage:
    """A block that may be cut off: what it awaits is cancelled, and the reason is raised instead.

    One object stands for all reasons, because each of its own (a watching task, a timeout) would
    cost a request as much as the rest of its way.
    """

    __slots__ = ("_client", "_open", "_reason", "_task", "_timer", "_until", "endpoint", "key")

    def __init__(self, passages: set[Passage], endpoint: str, key: bytes | None) -> None:
        self.endpoint = endpoint
        self.key = key
        self._open = passages
        self._reason: PhoundryError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._until = 0.0
        self._client: Client | None = None
        self._task: asyncio.Task[Any] | None = None

    def watch(self, client: Client) -> None:
        """Cut the block off when the client leaves; its body must have been read already."""
        self._client = client
        client.watch(self._left)

    def limit(self, seconds: float, deployment: str) -> None:
        """Cut the block off after `seconds`, unless `extend` is called before."""
        loop = asyncio.get_running_loop()
        self._until = loop.time() + seconds
        self._timer = loop.call_at(self._until, self._time_is_over, seconds, deployment)

    def extend(self, seconds: float) -> None:
        """Something has come: the time begins anew. Moves no timer: it is called for each piece."""
        self._until = asyncio.get_running_loop().time() + seconds

    def cut(self, reason: PhoundryError) -> None:
        """End the block with `reason`; a second reason changes nothing."""
        if self._reason is None and self._task is not None:
            self._reason = reason
            self._task.cancel()

    def __enter__(self) -> Passage:
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("a passage needs a running task")
        self._open.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        self._open.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._client is not None:
            self._client.unwatch(self._left)
        if kind is asyncio.CancelledError and self._reason is not None and task is not None:
            task.uncancel()
            raise self._reason from None

    def _left(self) -> None:
        self.cut(Cancelled("The client left before its answer was complete."))

    def _time_is_over(self, seconds: float, deployment: str) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._until - 0.001:
            self._timer = loop.call_at(self._until, self._time_is_over, seconds, deployment)
            return
        self.cut(
            RequestTimeout(
                f"The deployment '{deployment}' did not answer within {seconds:g} s.",
                remedy="Ask for fewer tokens, or raise request_timeout_ms.",
            )
        )


class Passages:
    """What is in flight. Used by one event loop; not safe across threads."""

    def __init__(self) -> None:
        self._open: set[Passage] = set()

    def hold(self, endpoint: str, key: bytes | None) -> Passage:
        """A block that may run for as long as `key` opens `endpoint`; without one, always."""
        return Passage(self._open, endpoint, key)

    def recheck(self, before: KeyIndex, keys: KeyIndex, endpoints: Container[str]) -> None:
        """Cut what came in with a key that opened its endpoint `before` and opens it no more.

        Requests to an endpoint that has been deleted are left to end: nobody took their key away.
        """
        revoked = keys.revoked_since(before)
        if not revoked:
            return
        for passage in tuple(self._open):
            if passage.key is None or passage.endpoint not in endpoints:
                continue
            if passage.endpoint in revoked.get(hashlib.sha256(passage.key).digest(), ()):
                passage.cut(Unauthenticated("The key was revoked while it was in use."))
