"""Requests in flight, and the keys that let them in: a key that is revoked lets nothing go on."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from phoundry.errors import Unauthenticated
from phoundry.serving.gateway.auth import KeyIndex


@dataclass(slots=True, eq=False)
class _Passage:
    endpoint: str
    key: bytes = field(repr=False)
    task: asyncio.Task[Any]
    revoked: bool = False


class Passages:
    """What is in flight. Used by one event loop; not safe across threads."""

    def __init__(self) -> None:
        self._open: set[_Passage] = set()

    @contextmanager
    def hold(self, endpoint: str, key: bytes) -> Generator[None]:
        """The block may run for as long as `key` opens `endpoint`.

        Raises:
            Unauthenticated: the key was revoked; what the block awaited has been cancelled.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("hold needs a running task")
        passage = _Passage(endpoint, key, task)
        self._open.add(passage)
        try:
            yield
        except asyncio.CancelledError:
            if not passage.revoked:
                raise
            task.uncancel()
            raise Unauthenticated("The key was revoked while it was in use.") from None
        finally:
            self._open.discard(passage)

    def recheck(self, keys: KeyIndex, endpoints: Container[str]) -> None:
        """Cut what came in with a key that opens its endpoint no more.

        Requests to an endpoint that has been deleted are left to end: nobody took their key away.
        """
        for passage in self._open:
            opened = keys.endpoints_of(passage.key)
            if passage.endpoint in endpoints and passage.endpoint not in opened:
                passage.revoked = True
                passage.task.cancel()
