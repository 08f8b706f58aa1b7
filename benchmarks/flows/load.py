"""Clients for both sides: they keep a connection where the server does, and open another where it
closes one after each answer, as Prompt flow's server does."""

from __future__ import annotations

import asyncio
import time

import uvloop

from benchmarks.gateway.load import Client, Side

ANSWER_SECONDS = 60


class Once(Client):
    """Knows when the server has closed the connection, or is about to."""

    closing = False

    def data_received(self, data: bytes) -> None:
        self.closing = self.closing or b"connection: close" in data.lower()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        super().connection_lost(exc)


async def _connect(side: Side) -> Once:
    request = side.request()
    _, client = await asyncio.get_running_loop().create_connection(
        lambda: Once(request), *side.address
    )
    return client


def rate(side: Side, connections: int, seconds: float) -> float:
    """Answers a second to `connections` clients that ask without a pause."""
    return uvloop.run(_rush(side, connections, seconds)) / seconds


async def _rush(side: Side, connections: int, seconds: float) -> int:
    asked = 0
    end = time.perf_counter() + seconds

    async def keep_asking() -> None:
        nonlocal asked
        client = await _connect(side)
        while time.perf_counter() < end:
            if client.closing:
                client.close()
                client = await _connect(side)
            await asyncio.wait_for(client.ask(), ANSWER_SECONDS)
            asked += 1
        client.close()

    await asyncio.gather(*(keep_asking() for _ in range(connections)))
    return asked
