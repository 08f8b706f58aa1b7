"""The addresses of a served flow, as Prompt flow has them. Plain ASGI.

POST /score           {inputs} → {outputs}; `Accept: text/event-stream` gets pieces as they come
POST /feedback        anything; kept
GET  /health, /version, /swagger.json
GET  /                the page to chat on, or a form of the inputs; works offline
"""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from phoundry.errors import Cancelled, NotFound, PhoundryError
from phoundry.flows.runner import Outcome
from phoundry.serving.asgi import (
    EVENT_STREAM,
    Receive,
    Scope,
    Send,
    encode,
    header,
    read_body,
    while_connected,
)
from phoundry.serving.errors import TooManyRequests
from phoundry.serving.flow.access import Access
from phoundry.serving.flow.asked import NotAcceptable, accepted, check_type, read_inputs
from phoundry.serving.flow.feed import Feed
from phoundry.serving.flow.hosted import Hosted
from phoundry.serving.flow.pages import Pages
from phoundry.serving.flow.pool import Pool
from phoundry.serving.flow.replies import body_of, event, headers_of, reply_bytes, status_of
from phoundry.serving.flow.swagger import describe
from phoundry.serving.flow.tracing import Asked
from phoundry.version import __version__

BODY_LIMIT = 16 * 1024 * 1024  # bytes; images come inside JSON
FEEDBACK_LIMIT = 64 * 1024
FEEDBACK_KEPT = 100 * 1024 * 1024  # bytes of all feedback; what comes then is answered, not kept
WAITING_LIMIT = 1024  # requests asked for and not answered


class MethodNotAllowed(PhoundryError):
    code = "MethodNotAllowed"
    status = 405


class FlowApp:
    """ASGI application over one opened flow."""

    def __init__(
        self,
        hosted: Hosted,
        pool: Pool,
        access: Access,
        *,
        static: Path | None = None,
        feedback: Path | None = None,
    ) -> None:
        self._hosted, self._pool, self._access = hosted, pool, access
        self._pages = Pages(hosted, static)
        self._feedback = feedback
        self._swagger = encode(describe(hosted.flow, hosted.hidden))
        health = {"status": "Healthy", "version": __version__}
        self._health = encode(health)
        self._version = encode({**health, "build_info": ""})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            self._access.check(scope)
            if scope["path"] == "/score":
                await self._score(scope, receive, send)
            else:
                await self._other(scope, receive, send)
        except Cancelled:
            return  # nobody is left to answer
        except PhoundryError as error:
            body = encode(body_of(error, self._hosted.secrets))
            await reply_bytes(send, status_of(error), body, headers=headers_of(error))

    async def _score(self, scope: Scope, receive: Receive, send: Send) -> None:
        _only(scope, "POST")
        streams, json_too = accepted(header(scope, b"accept"))
        if not streams and not json_too:
            raise _unacceptable(scope)
        check_type(header(scope, b"content-type"))
        body = await read_body(scope, receive, BODY_LIMIT)
        if self._pool.running >= WAITING_LIMIT:
            raise TooManyRequests(f"{WAITING_LIMIT} requests wait already.")
        asked = Asked.of(scope)
        if streams:
            await self._stream(body, asked, json_too, scope, receive, send)
        else:
            status, answer = await self._pool.run(partial(self._answer, body, asked))
            await reply_bytes(send, status, answer)

    def _answer(self, body: bytes, asked: Asked) -> tuple[int, bytes]:
        """In a thread: from the request's bytes to the answer's."""
        inputs = read_inputs(body, self._hosted.flow.inputs)
        return self._written(self._hosted.ask(inputs, None, asked))

    def _written(self, outcome: Outcome) -> tuple[int, bytes]:
        if outcome.error is not None:
            found = body_of(outcome.error, self._hosted.secrets)
            return status_of(outcome.error), encode(found)
        return 200, encode(self._hosted.answer(outcome))

    async def _stream(
        self,
        body: bytes,
        asked: Asked,
        json_too: bool,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Events while the flow runs; whole JSON where it turns out not to stream."""
        inputs = read_inputs(body, self._hosted.flow.inputs)
        feed = Feed()
        ask = partial(self._hosted.ask, inputs, feed.put, asked)
        task = asyncio.ensure_future(self._pool.run(ask))

        def ended(done: asyncio.Future[Outcome]) -> None:
            if not done.cancelled():
                done.exception()  # looked at, also where the client left and nobody asks for it
            feed.wake()

        task.add_done_callback(ended)
        sent: set[str] = set()
        try:
            async with while_connected(receive, scope):
                while True:
                    over = task.done()  # looked at first: what is taken then is the rest
                    if pieces := await feed.take() if not over else feed.rest():
                        events = b"".join(event({name: text}) for name, text in pieces)
                        await _send_events(send, events, first=not sent)
                        sent.update(name for name, _ in pieces)
                    if over:
                        break
        finally:
            feed.close()
        if not sent:
            outcome = await task
            if not json_too and outcome.error is None:
                raise _unacceptable(scope)
            status, answer = self._written(outcome)
            await reply_bytes(send, status, answer)
            return
        await send({"type": "http.response.body", "body": self._last(task, sent)})

    def _last(self, task: asyncio.Future[Outcome], sent: set[str]) -> bytes:
        """The events after the pieces: the other outputs, or what went wrong."""
        error = task.exception()
        outcome = None if error else task.result()
        fault = error or (outcome.error if outcome else None)
        if isinstance(fault, PhoundryError):
            return event(body_of(fault, self._hosted.secrets))
        if outcome is None:
            return event(body_of(PhoundryError("The server failed."), ()))
        shown = self._hosted.shown(outcome.output or {})
        others = {name: it for name, it in shown.items() if name not in sent}
        return event(others) if others else b""

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/feedback":
            _only(scope, "POST")
            await self._take_feedback(scope, receive)
            await reply_bytes(send, 200, encode({"status": "Feedback received."}))
            return
        documents = {
            "/health": self._health,
            "/health/live": self._health,
            "/health/ready": self._health,
            "/version": self._version,
            "/swagger.json": self._swagger,
        }
        if path in documents:
            _only(scope, "GET")
            await reply_bytes(send, 200, documents[path])
            return
        page = self._pages.find(path)
        if page is None:
            raise NotFound(f"There is no {path[:100]} here.", remedy="Flows answer POST /score.")
        _only(scope, "GET")
        await reply_bytes(send, 200, page.body, page.kind, page.headers)

    async def _take_feedback(self, scope: Scope, receive: Receive) -> None:
        text = (await read_body(scope, receive, FEEDBACK_LIMIT)).decode(errors="replace")
        try:
            given: Any = json.loads(text)
        except (ValueError, RecursionError):
            given = text
        parent = (header(scope, b"traceparent") or b"").decode("latin-1") or None
        if self._feedback is not None:
            record = {"time": time.time(), "feedback": given, "traceparent": parent}
            await asyncio.to_thread(_append, self._feedback, record)


def _unacceptable(scope: Scope) -> NotAcceptable:
    return NotAcceptable.of((header(scope, b"accept") or b"").decode("latin-1"))


async def _send_events(send: Send, events: bytes, *, first: bool) -> None:
    if first:
        headers = [EVENT_STREAM, (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": events, "more_body": True})


def _append(path: Path, record: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            if file.tell() < FEEDBACK_KEPT:
                file.write(encode(record) + b"\n")
    except OSError:
        traceback.print_exc()  # a full disk is no reason to refuse the caller


def _only(scope: Scope, method: str) -> None:
    asked = scope["method"]
    if asked != method and not (method == "GET" and asked == "HEAD"):
        raise MethodNotAllowed(f"{scope['path']} answers {method}, not {asked[:20]}.")
