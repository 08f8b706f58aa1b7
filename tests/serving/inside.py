"""The gateway in this process, with replicas on real sockets that misbehave as they are told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phoundry.serving.asgi import CLIENT, Message
from phoundry.serving.gateway.access import AccessLog
from phoundry.serving.gateway.app import GatewayApp
from phoundry.serving.gateway.auth import hash_key
from phoundry.serving.gateway.metrics_page import MetricsPage
from phoundry.serving.gateway.routes import (
    DeploymentRoute,
    EndpointRoute,
    ReplicaRoute,
    RoutingTable,
)
from phoundry.serving.gateway.routing import Router
from phoundry.serving.hosts import HostCheck

KEY = "key-of-faq"
SCORE = "/endpoints/faq/score"
CHAT = "/v1/chat/completions"
WAIT = 20.0  # seconds that no passing test needs

Manner = Callable[["Talk"], Awaitable[None]]


@dataclass
class Talk:
    """One request as a replica sees it."""

    replica: FakeReplica
    head: bytes
    body: bytes
    writer: asyncio.StreamWriter

    def send(self, content: bytes, status: int = 200, kind: str = "application/json") -> None:
        self.writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n"
            f"content-length: {len(content)}\r\n\r\n".encode()
            + content
        )

    def begin_stream(self) -> None:
        self.writer.write(
            b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )

    def piece(self, content: bytes) -> None:
        self.writer.write(b"%x\r\n%b\r\n" % (len(content), content))


async def answer(talk: Talk) -> None:
    """The replica's name, at once."""
    talk.send(json.dumps({"output": talk.replica.name}).encode())


async def break_off(talk: Talk) -> None:
    """Hang up without a word, as a process does that was killed."""
    talk.writer.transport.abort()


async def hang(talk: Talk) -> None:
    """Never answer."""
    await asyncio.Event().wait()


@dataclass
class FakeReplica:
    """Does with each request what its manner says; remembers the requests' bodies."""

    name: str
    manner: Manner = answer
    seen: list[bytes] = field(default_factory=list[bytes])
    heads: list[bytes] = field(default_factory=list[bytes])
    hung_up: int = 0
    port: int = 0

    async def start(self, port: int = 0) -> FakeReplica:
        self.talks: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    @property
    def route(self) -> ReplicaRoute:
        return ReplicaRoute(f"http://127.0.0.1:{self.port}", "replica-token")

    def kill(self) -> None:
        """As SIGKILL does: nothing listens, and every connection is reset."""
        self._server.close()
        for writer in self.talks:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.talks.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                self.heads.append(head)
                self.seen.append(body)
                await self._unless_gone(reader, Talk(self, head, body, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.talks.discard(writer)
            writer.transport.abort()

    async def _unless_gone(self, reader: asyncio.StreamReader, talk: Talk) -> None:
        """The manner, until the gateway hangs up."""
        doing = asyncio.ensure_future(self.manner(talk))
        await asyncio.sleep(0)  # what answers at once needs no watching
        while not doing.done():
            await asyncio.wait([doing], timeout=0.005)
            if reader.at_eof() or reader.exception():
                doing.cancel()
                self.hung_up += 1
                return
        await doing


class Caller:
    """The client of one request, who may leave."""

    def __init__(self) -> None:
        self._left: set[Callable[[], None]] = set()

    def watch(self, left: Callable[[], None]) -> None:
        self._left.add(left)

    def unwatch(self, left: Callable[[], None]) -> None:
        self._left.discard(left)

    def leave(self) -> None:
        for left in tuple(self._left):
            left()


@dataclass
class Reply:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    content: bytes = b""
    ended: bool = False

    def json(self) -> Any:
        return json.loads(self.content)


class Inside:
    """A gateway without sockets of its own."""

    def __init__(self, folder: Path, patience: float = 0.3) -> None:
        self.router = Router(patience=patience)
        self.folder = folder
        self.log = AccessLog(folder / "access.jsonl")
        self.page = MetricsPage(self.router, "a-token-of-more-than-32-characters-here")
        self.app = GatewayApp(self.router, HostCheck("127.0.0.1"), self.log, self.page)

    def use(self, endpoints: dict[str, EndpointRoute]) -> None:
        self.router.update(RoutingTable(self.router.generation + 1, endpoints))

    def serve(self, *replicas: FakeReplica, **settings: Any) -> None:
        """One deployment on these replicas, with all traffic."""
        route = DeploymentRoute([replica.route for replica in replicas], **settings)
        self.use({"faq": EndpointRoute([hash_key(KEY)], {"blue": 100}, {"blue": route})})

    async def ask(
        self,
        path: str = SCORE,
        body: bytes = b"{}",
        caller: Caller | None = None,
        reading: asyncio.Event | None = None,
        **headers: str,
    ) -> Reply:
        """The whole reply; names in `headers` have _ for -. It is taken once `reading` is set."""
        named = {"host": "127.0.0.1", "authorization": f"Bearer {KEY}", **headers}
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in named.items()],
            "extensions": {CLIENT: caller or Caller()},
        }
        reply = Reply()
        parts: list[bytes] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                assert not reply.status
                reply.status = message["status"]
                reply.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            else:
                assert not reply.ended
                if reading:
                    await reading.wait()
                parts.append(message["body"])
                reply.ended = not message.get("more_body")

        await self.app(scope, receive, send)
        reply.content = b"".join(parts)
        return reply

    def records(self) -> list[dict[str, Any]]:
        """The access log."""
        self.log.flush()
        path = self.folder / "access.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


@asynccontextmanager
async def replicas(*names: str, manner: Manner = answer) -> AsyncGenerator[list[FakeReplica]]:
    started = [await FakeReplica(name, manner).start() for name in names]
    try:
        yield started
    finally:
        for replica in started:
            replica.kill()


async def until(condition: Callable[[], object]) -> None:
    """Wait for the condition; fails after a time that no passing test needs."""
    async with asyncio.timeout(WAIT):
        while not condition():
            await asyncio.sleep(0.002)
