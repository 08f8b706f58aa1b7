"""The replica's HTTP surface. Only the gateway (and its token) is expected to call it.

GET  /health, /health/ready, /health/live      no token
GET  /metrics                                  Prometheus' text
POST /score                                    Azure's dialect
POST /v1/chat/completions, /v1/completions, /v1/embeddings     OpenAI's
POST /internal/render, /internal/generate      token ids, for the deploy gate
"""

from __future__ import annotations

import hmac
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from phoundry.errors import Cancelled, NotFound, PhoundryError, Unauthenticated, Unavailable
from phoundry.serving.asgi import (
    Receive,
    Scope,
    Send,
    header,
    parse_object,
    read_body,
    reply_json,
    while_connected,
)
from phoundry.serving.errors import azure_body, openai_body
from phoundry.serving.exposition import CONTENT_TYPE
from phoundry.serving.hosts import HostCheck
from phoundry.serving.paths import CHAT, COMPLETIONS, EMBEDDINGS, SCORE
from phoundry.serving.replica import chat, completions, embeddings, health, internal, score
from phoundry.serving.replica.events import sse
from phoundry.serving.replica.metrics import Metrics, Passage
from phoundry.serving.replica.model import ServedModel

Handler: TypeAlias = Callable[[ServedModel, dict[str, Any], Send, Passage], Awaitable[None]]

# By path: what its requests are counted as, and who answers them.
_HANDLERS: dict[str, tuple[str, Handler]] = {
    CHAT: ("chat", chat.chat),
    COMPLETIONS: ("completions", completions.complete),
    EMBEDDINGS: ("embeddings", embeddings.embed),
    SCORE: ("score", score.score),
    "/internal/render": ("internal", internal.render),
    "/internal/generate": ("internal", internal.generate),
}


class ReplicaApp:
    """ASGI application over one model. `ready` turns true after the warm-up."""

    def __init__(self, model: ServedModel, *, token: str) -> None:
        self._model = model
        self._token = f"Bearer {token}".encode()
        self._hosts = HostCheck()
        self._metrics = Metrics()
        self.ready = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = azure_body if scope["path"] == SCORE else openai_body
        status = 0

        async def sending(message: Any) -> None:
            nonlocal status
            status = status or message.get("status", 0)
            await send(message)

        try:
            await self._route(scope, receive, sending)
        except Cancelled:
            return  # nobody is left to answer
        except PhoundryError as error:
            if status:
                await send({"type": "http.response.body", "body": sse(body(error))})
            else:
                await reply_json(send, _status(error), body(error))
        except Exception as error:
            traceback.print_exc()
            failure = PhoundryError(f"The replica failed: {type(error).__name__}.")
            if status:
                raise
            await reply_json(send, 500, body(failure))

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._hosts.check(scope)
        path, method = scope["path"], scope["method"]
        if method == "GET" and path in ("/health", "/health/ready"):
            state = health.readiness(self._model, self.ready)
            await reply_json(send, 200 if self.ready else 503, state)
            return
        if method == "GET" and path == "/health/live":
            await health.check_alive(self._model, self._metrics)
            await reply_json(send, 200, {"status": "alive"})
            return
        presented = header(scope, b"authorization") or b""
        if not hmac.compare_digest(presented, self._token):
            raise Unauthenticated("This replica answers the gateway alone.")
        if method == "GET" and path == "/metrics":
            await _reply_text(send, self._metrics.text())
            return
        found = _HANDLERS.get(path)
        if found is None or method != "POST":
            raise NotFound(f"There is no {method} {path[:100]} here.")
        if not self.ready:
            raise Unavailable("The replica is still starting.")
        dialect, handler = found
        with self._metrics.passage(dialect) as passage:
            await self._answer(handler, passage, scope, receive, send)

    async def _answer(
        self, handler: Handler, passage: Passage, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Have one request answered, and note with which status."""
        try:
            body = parse_object(await read_body(scope, receive))
            async with while_connected(receive, scope):
                await handler(self._model, body, send, passage)
            passage.status = 200
        except Cancelled:
            raise
        except PhoundryError as error:
            passage.status = _status(error)
            raise


def _status(error: PhoundryError) -> int:
    """The model's own failure is 500 here; the gateway makes Azure's 424 of it."""
    return 500 if error.status == 424 else error.status


async def _reply_text(send: Send, text: str) -> None:
    body = text.encode()
    headers = [CONTENT_TYPE, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
