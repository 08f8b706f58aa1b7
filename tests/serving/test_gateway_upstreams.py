"""One connection to a replica, and the set of replicas, each by itself."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest

from phoundry.errors import Unavailable
from phoundry.serving.gateway import replicas, upstream
from phoundry.serving.gateway.connection import Connection
from phoundry.serving.gateway.replicas import Replicas
from phoundry.serving.gateway.upstream import Upstream


class Wire:
    """A transport that remembers whether it reads."""

    def __init__(self) -> None:
        self.reading = True

    def write(self, data: bytes) -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


HEAD = b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def test_a_connection_that_does_not_read_carries_no_other_request() -> None:
    async def main() -> None:
        wire = Wire()
        connection = Connection()
        connection.connection_made(cast(Any, wire))
        asked = connection.ask(b"")
        size = 300_000  # more than is kept for a client that does not take it
        connection.data_received(HEAD + b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n")
        await asked
        assert not wire.reading
        assert not connection.reusable  # whose client has left before it took the rest
        assert len(await connection.piece()) == size
        assert wire.reading
        assert connection.reusable

    asyncio.run(main())


def test_a_second_answer_in_the_same_read_is_no_part_of_the_first() -> None:
    async def main() -> None:
        connection = Connection()
        connection.connection_made(cast(Any, Wire()))
        asked = connection.ask(b"")
        connection.data_received(
            b"HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\n{}"
            b"HTTP/1.1 500 X\r\ncontent-length: 3\r\nx-other: 1\r\n\r\n[1]"
        )
        await asked
        assert (connection.status, connection.body) == (200, b"{}")
        assert b"x-other" not in connection.headers
        assert not connection.reusable

    asyncio.run(main())


def test_a_new_replica_is_waited_for_whatever_was_lost_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later = 0.0

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return time.monotonic() + later

    async def main() -> None:
        nonlocal later
        found = Replicas(lambda: Unavailable("none"), 60.0)
        first, second = Upstream("http://127.0.0.1:1", "t"), Upstream("http://127.0.0.1:2", "t")
        found.replace([first], asleep=False)
        found.replace([], asleep=False)  # lost …
        found.replace([second], asleep=False)
        later = 1000.0  # … long ago
        found.refused(second)
        waiting = asyncio.create_task(found.next(None, lambda: None))
        await asyncio.sleep(0)
        assert not waiting.done()
        second.resting_until = 0.0
        found.replace([second], asleep=False)
        assert await waiting is second

    monkeypatch.setattr(replicas, "time", Clock)
    monkeypatch.setattr(upstream, "time", Clock)
    asyncio.run(main())
