"""Clients that ask and do not read: what is kept for them has its time too."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from phoundry.serving.gateway.routes import EndpointRoute
from phoundry.serving.protocol import UNREAD_SECONDS, WatchedConnection
from tests.serving.inside import Talk, hang, until
from tests.serving.test_gateway_clients import Door, door, post


async def much(talk: Talk) -> None:
    talk.begin_stream()
    while True:
        talk.piece(b"x" * 100_000)
        await talk.writer.drain()


async def deaf(gate: Door) -> tuple[socket.socket, WatchedConnection]:
    """A client that has asked and reads nothing, once nothing moves any more."""
    client = socket.create_connection(("127.0.0.1", gate.port))
    client.sendall(post())
    await until(lambda: gate.connections)
    (connection,) = gate.connections
    still, size = 0, 0
    while still < 5:
        await asyncio.sleep(0.002)
        now = connection.transport.get_write_buffer_size()
        still, size = (still + 1 if now == size and connection.flow.write_paused else 0), now
    return client, connection


def test_who_does_not_read_is_hung_up_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with door(tmp_path, much) as (gate, _):
            client, _ = await deaf(gate)
            gate.inside.use({"faq": EndpointRoute()})  # cut off: the last event waits to be sent
            gate.pass_time(0)
            gate.pass_time(UNREAD_SECONDS - 1)
            await asyncio.sleep(0)
            assert len(gate.connections) == 1
            gate.pass_time(UNREAD_SECONDS + 1)
            await until(lambda: not gate.connections and not gate.state.tasks)
            client.close()

    asyncio.run(main())


def test_so_is_who_leaves_the_rest_of_a_closed_connection(tmp_path: Path) -> None:
    async def main() -> None:
        async with door(tmp_path, much) as (gate, _):
            client, connection = await deaf(gate)
            connection.transport.close()
            gate.pass_time(0)
            gate.pass_time(UNREAD_SECONDS + 1)
            await until(lambda: not gate.connections and not gate.state.tasks)
            client.close()

    asyncio.run(main())


def test_who_reads_slowly_may(tmp_path: Path) -> None:
    async def main() -> None:
        async with door(tmp_path, hang) as (gate, _):
            _, writer = await gate.knock(post())
            await until(lambda: gate.connections and gate.connections[0].cycle)
            (connection,) = gate.connections
            connection.flow.write_paused = True
            sizes = iter([4_000_000, 3_000_000, 2_000_000, 2_000_000])
            connection.transport.get_write_buffer_size = lambda: next(sizes)
            for moment in (0, 50, 100, 150):
                gate.pass_time(moment)
                assert not connection.transport.is_closing()
            connection.flow.write_paused = False
            gate.pass_time(1000)
            assert not connection.transport.is_closing()
            writer.close()

    asyncio.run(main())
