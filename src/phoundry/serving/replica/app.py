"""The replica's HTTP surface. Only the gateway (and its token) is expected to call it."""

from __future__ import annotations

import hmac
import traceback
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

from phoundry.errors import (
    Cancelled,
    NotFound,
    PhoundryError,
    Unauthenticated,
    Unavailable,
)
from phoundry.serving.asgi import (
    EVENT_STREAM,
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
from phoundry.serving.hosts import HostCheck
from phoundry.serving.paths import CHAT, SCORE
from phoundry.serving.replica import openai, score
from phoundry.serving.replica.defaults import NONE
from phoundry.serving.replica.generation import Generator, Prepared
from phoundry.specs.deployment import GenerationDefaults


class ReplicaApp:
    """ASGI application over one `Generator`. `ready` turns true after the warm-up.

    `defaults` is asked before each request, because they may change while it serves.
    """

    def __init__(
        self,
        generator: Generator,
        *,
        token: str,
        model_name: str,
        defaults: Callable[[], GenerationDefaults] = lambda: NONE,
    ) -> None:
        self._generator = generator
        self._token = f"Bearer {token}".encode()
        self._model_name = model_name
        self._defaults = defaults
        self._hosts = HostCheck()
        self.ready = False
        self._handlers: dict[str, Callable[[dict[str, Any], Send], Awaitable[None]]] = {
            CHAT: self._chat,
            SCORE: self._score,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = azure_body if scope["path"] == SCORE else openai_body
        started = False

        async def sending(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._route(scope, receive, sending)
        except Cancelled:
            return  # nobody is left to answer
        except PhoundryError as error:
            # The model's own failure is 500 here; the gateway makes Azure's 424 of it.
            status = 500 if error.status == 424 else error.status
            if started:
                await send({"type": "http.response.body", "body": openai.error_event(body(error))})
            else:
                await reply_json(send, status, body(error))
        except Exception as error:
            traceback.print_exc()
            failure = PhoundryError(f"The replica failed: {type(error).__name__}.")
            if started:
                raise
            await reply_json(send, 500, body(failure))

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._hosts.check(scope)
        path, method = scope["path"], scope["method"]
        if path == "/health" and method == "GET":
            await self._health(send)
            return
        presented = header(scope, b"authorization") or b""
        if not hmac.compare_digest(presented, self._token):
            raise Unauthenticated("This replica answers the gateway alone.")
        handler = self._handlers.get(path)
        if handler is None or method != "POST":
            raise NotFound(f"There is no {method} {path} here.")
        if not self.ready:
            raise Unavailable("The replica is still starting.")
        body = parse_object(await read_body(scope, receive))
        async with while_connected(receive):
            await handler(body, send)

    async def _health(self, send: Send) -> None:
        engine = self._generator.engine
        state = {
            "status": "ready" if self.ready else "starting",
            "model": self._model_name,
            "context_length": engine.context_length,
            "slots": engine.slots,
        }
        await reply_json(send, 200 if self.ready else 503, state)

    async def _score(self, body: dict[str, Any], send: Send) -> None:
        request = score.read(body, self._defaults())
        prepared = self._generator.prepare(request.ask)
        answer = (await prepared.whole()).text
        if request.return_full_text:
            answer = self._generator.tokenizer.decode(prepared.prompt_ids) + answer
        await reply_json(send, 200, {"output": answer})

    async def _chat(self, body: dict[str, Any], send: Send) -> None:
        request = openai.read(body, self._defaults())
        prepared = self._generator.prepare(request.ask)
        reply = openai.Reply(
            request.model or self._model_name,
            len(prepared.prompt_ids),
            request.include_usage,
        )
        if request.stream:
            await _stream(prepared, reply, send)
        else:
            await reply_json(send, 200, reply.whole(await prepared.whole()))


async def _stream(prepared: Prepared, reply: openai.Reply, send: Send) -> None:
    """Events as they come. The status waits for the first piece, so that a failure has its own."""
    opening: bytes | None = reply.first()
    async with aclosing(prepared.run()) as pieces:
        async for piece in pieces:
            if opening is not None:
                headers = [EVENT_STREAM, (b"cache-control", b"no-cache")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            event = (opening or b"") + reply.events(piece)
            opening = None
            last = piece.finish_reason is not None
            await send({"type": "http.response.body", "body": event, "more_body": not last})
