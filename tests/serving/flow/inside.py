"""A served flow in this process: requests go straight to the application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phoundry.serving.flow.access import Access
from phoundry.serving.flow.app import FlowApp
from phoundry.serving.flow.hosted import Hosted, opened
from phoundry.serving.flow.opening import Opening
from phoundry.serving.flow.pool import Pool

FLOWS = Path(__file__).with_name("flows")
Headers = dict[str, str]


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    pieces: list[bytes] = field(default_factory=list[bytes])

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    """The application, and a client of it."""

    app: FlowApp
    pool: Pool

    async def ask(
        self,
        path: str,
        body: bytes | str | None = None,
        headers: Headers | None = None,
        *,
        method: str | None = None,
        left: asyncio.Event | None = None,
    ) -> Answer:
        """What is answered. `left`: the client leaves when it is set."""
        given = {"host": "127.0.0.1:8080"} | (headers or {})
        path, _, query = path.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "method": method or ("GET" if body is None else "POST"),
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        }
        content = body.encode() if isinstance(body, str) else body or b""
        messages = [{"type": "http.request", "body": content, "more_body": False}]
        answer = Answer()

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await (left or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            else:
                answer.pieces.append(message.get("body", b""))

        await self.app(scope, receive, send)
        return answer

    async def score(self, inputs: Any, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.ask("/score", json.dumps(inputs), named)


@contextmanager
def hosting(name: str, **opening: Any) -> Generator[Hosted]:
    with opened(Opening(path=str(FLOWS / name), **opening)) as hosted:
        yield hosted


def visit(
    hosted: Hosted,
    what: Callable[[Site], Awaitable[Any]],
    *,
    key: str | None = None,
    timeout: float = 30.0,
    threads: int = 4,
    on_stuck: Callable[[], None] = lambda: None,
    **more: Any,
) -> Any:
    """What `what` returns, asked of a site over `hosted`."""

    async def run() -> Any:
        pool = Pool(threads, timeout, on_stuck)
        try:
            return await what(Site(FlowApp(hosted, pool, Access(key), **more), pool))
        finally:
            pool.close()

    return asyncio.run(run())
