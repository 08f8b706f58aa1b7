"""Clients on real sockets that are slow, malformed, or leave: what they get, and what they hold."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from uvicorn.server import ServerState

from phoundry.serving.asgi import BODY_LIMIT
from phoundry.serving.protocol import BODY_SECONDS, HEAD_SECONDS, IDLE_SECONDS, WatchedConnection
from tests.serving.inside import KEY, SCORE, FakeReplica, Inside, Manner, answer, hang, until

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Door:
    """The gateway behind a socket of this process."""

    def __init__(self, inside: Inside, state: ServerState, port: int) -> None:
        self.inside = inside
        self.state = state
        self.port = port

    @property
    def connections(self) -> list[WatchedConnection]:
        return [c for c in self.state.connections if isinstance(c, WatchedConnection)]

    async def knock(self, *parts: bytes) -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"".join(parts))
        return reader, writer

    def pass_time(self, seconds: float) -> None:
        """What the server does each second, that many seconds later."""
        now = asyncio.get_running_loop().time() + seconds
        for connection in self.connections:
            connection.expire(now)


@asynccontextmanager
async def door(folder: Path, manner: Manner = answer) -> AsyncGenerator[tuple[Door, FakeReplica]]:
    inside = Inside(folder)
    replica = await FakeReplica("a", manner).start()
    inside.serve(replica, max_concurrent=2)
    config = uvicorn.Config(
        inside.app, http=WatchedConnection, ws="none", lifespan="off", log_config=None
    )
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: WatchedConnection(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    try:
        yield Door(inside, state, server.sockets[0].getsockname()[1]), replica
    finally:
        server.close()
        replica.kill()
        for connection in tuple(state.connections):
            connection.transport.abort()


def post(body: bytes = b"{}", **changes: str) -> bytes:
    headers = {
        "host": "127.0.0.1",
        "authorization": f"Bearer {KEY}",
        "content-length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    lines = [f"{name}: {value}" for name, value in headers.items() if value]
    return "\r\n".join([f"POST {SCORE} HTTP/1.1", *lines, "", ""]).encode() + body


async def reply(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(head.split()[1]), await reader.readexactly(length)


async def is_closed(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(20):
        try:
            return await reader.read(1) == b""
        except ConnectionError:
            return True


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        (b"", HEAD_SECONDS),
        (b"POST /endpoi", HEAD_SECONDS),
        (b"POST /score HTTP/1.1\r\nhost: 127.0.0.1\r\nx-half", HEAD_SECONDS),
        (post(b"{}")[:-1], BODY_SECONDS),
        (post(b"", content_length="4000000") + b"x" * 100_000, BODY_SECONDS),
        (post(b"", content_length="", transfer_encoding="chunked") + b"5\r\nab", BODY_SECONDS),
    ],
    ids=[
        "nothing",
        "half a line",
        "half a head",
        "half a body",
        "half a large body",
        "half a chunk",
    ],
)
def test_who_does_not_end_a_request_gets_408_and_is_let_go(
    tmp_path: Path, sent: bytes, seconds: float
) -> None:
    async def main() -> None:
        async with door(tmp_path) as (gate, replica):
            reader, writer = await gate.knock(sent)
            await until(lambda: gate.connections)
            await asyncio.sleep(0.02)
            gate.pass_time(seconds - 1)
            assert len(gate.connections) == 1  # it has its time
            gate.pass_time(seconds + 1)
            status, body = await reply(reader)
            assert (status, json.loads(body)["error"]["code"]) == (408, "RequestTimeout")
            assert await is_closed(reader)
            await until(lambda: not gate.connections and not gate.state.tasks)
            assert replica.seen == []
            writer.close()

    asyncio.run(main())


def test_a_connection_between_two_requests_is_let_go_later(tmp_path: Path) -> None:
    async def main() -> None:
        async with door(tmp_path) as (gate, _):
            reader, writer = await gate.knock(post())
            assert (await reply(reader))[0] == 200
            gate.pass_time(IDLE_SECONDS - 1)
            writer.write(post())
            assert (await reply(reader))[0] == 200
            gate.pass_time(IDLE_SECONDS + 1)
            assert await is_closed(reader)
            writer.close()

    asyncio.run(main())


def test_an_answer_that_takes_long_is_no_slow_client(tmp_path: Path) -> None:
    async def main() -> None:
        async with door(tmp_path, hang) as (gate, replica):
            _, writer = await gate.knock(post())
            await until(lambda: replica.seen)
            gate.pass_time(1000)
            await asyncio.sleep(0.02)
            assert len(gate.connections) == 1
            assert replica.hung_up == 0
            writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("ahead", [b"POST /half", post(b"x" * 200_000)[:-1]])
def test_half_a_request_sent_ahead_does_not_end_the_one_before(
    tmp_path: Path, ahead: bytes
) -> None:
    async def main() -> None:
        async with door(tmp_path, hang) as (gate, replica):
            _, writer = await gate.knock(post(), ahead)
            await until(lambda: replica.seen)
            await asyncio.sleep(0.02)
            gate.pass_time(1000)
            await asyncio.sleep(0.02)
            assert len(gate.connections) == 1
            assert replica.hung_up == 0
            writer.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS greeting
        b"HELO example\r\n\r\n",
        b"POST /score HTTP/1.1\r\nno colon here\r\n\r\n",
        post(content_length="two"),
        post(content_length="-1"),
        post(transfer_encoding="chunked"),  # with a content-length: smuggling
        post(b"zz\r\n", content_length="", transfer_encoding="chunked"),
    ],
)
def test_what_is_no_http_gets_400_and_is_let_go(tmp_path: Path, sent: bytes) -> None:
    async def main() -> None:
        async with door(tmp_path) as (gate, replica):
            reader, writer = await gate.knock(sent)
            status, body = await reply(reader)
            assert (status, json.loads(body)["error"]["code"]) == (400, "InvalidInput")
            assert await is_closed(reader)
            await until(lambda: not gate.connections and not gate.state.tasks)
            assert replica.seen == []
            writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("size", [2, 100_000, 400_000, BODY_LIMIT - 100_000])
def test_a_client_that_leaves_frees_its_place(tmp_path: Path, size: int) -> None:
    """Also after a long body, in which reading was paused."""

    async def main() -> None:
        async with door(tmp_path, hang) as (gate, replica):
            limiter = gate.inside.router.endpoints["faq"].deployments["blue"].limiter
            _, writer = await gate.knock(post(b"x" * size))
            await until(lambda: replica.seen)
            assert limiter.running == 1
            writer.close()
            # Nothing here would end it later: no time is passed, and its own is minutes.
            await until(lambda: limiter.running == 0 and replica.hung_up)
            (record,) = gate.inside.records()
            assert record["status"] == 0  # nobody was there to answer

    asyncio.run(main())


def test_a_client_that_leaves_while_it_waits_frees_its_place_in_the_queue(tmp_path: Path) -> None:
    async def main() -> None:
        async with door(tmp_path, hang) as (gate, replica):
            limiter = gate.inside.router.endpoints["faq"].deployments["blue"].limiter
            callers = [await gate.knock(post()) for _ in range(4)]
            await until(lambda: limiter.in_flight == 4 and len(replica.seen) == 2)
            refused, _ = await gate.knock(post())
            assert (await reply(refused))[0] == 429
            for _, writer in callers[::-1]:  # those that wait first
                writer.close()
            await until(lambda: limiter.in_flight == 0)
            assert len(replica.seen) == 2

    asyncio.run(main())


def test_requests_sent_ahead_are_answered_in_their_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with door(tmp_path) as (gate, replica):
            bodies = [b'{"n": %d}' % number for number in range(5)]
            reader, writer = await gate.knock(*(post(body) for body in bodies))
            for _ in bodies:
                assert (await reply(reader))[0] == 200
            assert replica.seen == bodies
            writer.close()

    asyncio.run(main())


def test_a_body_that_comes_in_crumbs_is_whole(tmp_path: Path) -> None:
    async def main() -> None:
        async with door(tmp_path) as (gate, replica):
            body = json.dumps({"text": "crumbs " * 30}).encode()
            reader, writer = await gate.knock()
            for byte in post(body):
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            assert (await reply(reader))[0] == 200
            assert replica.seen == [body]
            writer.close()

    asyncio.run(main())
