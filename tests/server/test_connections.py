"""Clients on raw sockets that are slow: what the control plane leaves them, and what not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from phoundry.server.connections import BYTES_A_SECOND, PatientConnection, Server
from phoundry.serving.protocol import BODY_SECONDS, HEAD_SECONDS, IDLE_SECONDS

HEAD = b"POST /data HTTP/1.1\r\nhost: 127.0.0.1\r\n"


class Door:
    """An application behind our connections, which reads bodies where it is let."""

    def __init__(self) -> None:
        self.state = ServerState()
        self.read = asyncio.Event()
        self.read.set()
        self.port = 0
        self.taken = 0

    def config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self.app,
            http=PatientConnection,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            port=0,
        )

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            await self.read.wait()
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            self.taken += len(message.get("body", b""))
            more = message.get("more_body", False)
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    @property
    def connections(self) -> list[PatientConnection]:
        return [each for each in self.state.connections if isinstance(each, PatientConnection)]

    def pass_time(self, seconds: float) -> None:
        """What the server does each second, that many seconds later."""
        now = asyncio.get_running_loop().time() + seconds
        for connection in self.connections:
            connection.expire(now)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.001)


@asynccontextmanager
async def door() -> AsyncGenerator[tuple[Door, asyncio.StreamReader, asyncio.StreamWriter]]:
    made = Door()
    config = made.config()
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: PatientConnection(config=config, server_state=made.state, app_state={}),
        "127.0.0.1",
        0,
    )
    made.port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
    try:
        yield made, reader, writer
    finally:
        writer.close()
        server.close()
        for connection in tuple(made.state.connections):
            connection.transport.abort()


async def rest(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(20):
        return await reader.read()


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        (b"", HEAD_SECONDS),
        (HEAD + b"x-ha", HEAD_SECONDS),
        (HEAD + b"content-length: 9\r\n\r\nab", BODY_SECONDS),
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_who_does_not_end_a_request_is_told_so(sent: bytes, seconds: float) -> None:
    async def main() -> None:
        async with door() as (gate, reader, writer):
            writer.write(sent)
            await gate.until(lambda: bool(gate.connections))
            await gate.until(lambda: gate.taken >= 2 * (b"ab" in sent))
            await asyncio.sleep(0.02)
            gate.pass_time(seconds - 1)
            assert gate.connections
            gate.pass_time(seconds + 1)
            answer = await rest(reader)
            assert answer.startswith(b"HTTP/1.1 408 ")
            error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
            assert error["code"] == "RequestTimeout"
            assert f"{BYTES_A_SECOND:,} bytes" in error["message"]

    asyncio.run(main())


def test_a_large_file_may_take_its_time_as_long_as_it_comes() -> None:
    size = 40 * BYTES_A_SECOND

    async def main() -> None:
        async with door() as (gate, reader, writer):
            writer.write(HEAD + b"content-length: %d\r\n\r\n" % (size + 1) + b"x" * size)
            await gate.until(lambda: gate.taken >= size)
            gate.pass_time(BODY_SECONDS + 39)
            assert gate.connections
            gate.pass_time(BODY_SECONDS + 41)  # a byte now and then is no file that comes
            assert (await rest(reader)).startswith(b"HTTP/1.1 408 ")

    asyncio.run(main())


def test_who_waits_for_us_is_not_slow() -> None:
    size = 1 << 20

    async def main() -> None:
        async with door() as (gate, reader, writer):
            gate.read.clear()  # the disk is slow
            writer.write(HEAD + b"content-length: %d\r\n\r\n" % size + b"x" * size)
            await gate.until(lambda: any(each.flow.read_paused for each in gate.connections))
            gate.pass_time(10 * BODY_SECONDS)
            gate.read.set()
            async with asyncio.timeout(20):
                assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            assert gate.taken == size

    asyncio.run(main())


def test_an_idle_connection_is_let_go() -> None:
    async def main() -> None:
        async with door() as (gate, reader, writer):
            writer.write(HEAD + b"content-length: 0\r\n\r\n")
            async with asyncio.timeout(20):
                assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(0.02)
            gate.pass_time(IDLE_SECONDS - 1)
            assert gate.connections
            gate.pass_time(IDLE_SECONDS + 1)
            assert (await rest(reader)).endswith(b"ok")
            await gate.until(lambda: not gate.connections)

    asyncio.run(main())


def test_the_server_looks_at_its_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = asyncio.Event()

    def see(self: PatientConnection, now: float) -> None:
        looked.set()

    monkeypatch.setattr(PatientConnection, "expire", see)

    async def main() -> None:
        made = Door()
        server = Server(made.config())
        serving = asyncio.create_task(server.serve())
        async with asyncio.timeout(20):
            while not server.started:
                await asyncio.sleep(0.001)
            port = server.servers[0].sockets[0].getsockname()[1]
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            await looked.wait()
            writer.close()
            server.should_exit = True
            await serving

    asyncio.run(main())
