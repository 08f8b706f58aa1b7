"""Keep-alive clients at the lowest price that Python allows, so that others are measured."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from benchmarks.gateway.stub import length


@dataclass(frozen=True, slots=True)
class Side:
    """One server that is asked, and the request that it gets."""

    name: str
    url: str
    body: bytes
    key: str = "none"

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def request(self) -> bytes:
        host, port = self.address
        head = (
            f"POST {urlsplit(self.url).path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Authorization: Bearer {self.key}\r\nAccept: application/json\r\n"
            "User-Agent: benchmark\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


class Client(asyncio.Protocol):
    """Asks one request at a time over one connection. Raises SystemExit for any answer but 200."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._answer: asyncio.Future[float] | None = None
        self._held = b""
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def ask(self) -> asyncio.Future[float]:
        """Seconds until the whole answer is there."""
        self._answer = asyncio.get_running_loop().create_future()
        self._began = time.perf_counter()
        self._transport.write(self._request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        held = self._held + data if self._held else data
        end = held.find(b"\r\n\r\n")
        if end < 0 or len(held) < end + 4 + length(held[:end]):
            self._held = held
            return
        took = time.perf_counter() - self._began
        self._held = b""
        assert self._answer
        if held.startswith(b"HTTP/1.1 200"):
            self._answer.set_result(took)
        else:
            self._answer.set_exception(SystemExit(f"unexpected answer: {held[:600]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(SystemExit("the server hung up"))

    def close(self) -> None:
        self._transport.close()


async def connect(side: Side) -> Client:
    request = side.request()
    _, client = await asyncio.get_running_loop().create_connection(
        lambda: Client(request), *side.address
    )
    return client


async def rush(side: Side, connections: int, seconds: float) -> list[float]:
    """Seconds of each answer, with `connections` clients that ask without a pause."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def keep_asking() -> None:
        client = await connect(side)
        while time.perf_counter() < end:
            took.append(await client.ask())
        client.close()

    await asyncio.gather(*(keep_asking() for _ in range(connections)))
    return took


async def in_turn(sides: list[Side], seconds: float) -> list[list[float]]:
    """Seconds of each answer of each side, asked in turn over one connection each.

    A machine that others use treats all sides alike this way.
    """
    clients = [await connect(side) for side in sides]
    took: list[list[float]] = [[] for _ in sides]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for client, times in zip(clients, took, strict=True):
            times.append(await client.ask())
    for client in clients:
        client.close()
    return took
