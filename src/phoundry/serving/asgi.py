"""The little of HTTP that the replica and the gateway share: plain ASGI, no framework.

A framework's request object costs more than the gateway's whole budget for a request, so both
applications speak ASGI 3 directly.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    MutableMapping,
)
from contextlib import asynccontextmanager
from typing import Any, Protocol, cast

from phoundry.errors import Cancelled, InvalidInput, TooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

# Where in scope["extensions"] our own server puts the request's `Client`.
CLIENT = "phoundry.client"
BODY_LIMIT = 4 * 1024 * 1024  # bytes
JSON_TYPE = (b"content-type", b"application/json")
EVENT_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first header called `name` (lower case, as ASGI gives them)."""
    for key, value in scope["headers"]:
        if key == name:
            return value
    return None


async def read_body(scope: Scope, receive: Receive, limit: int = BODY_LIMIT) -> bytes:
    """The whole request body.

    Raises:
        TooLarge: more than `limit` bytes are announced, or arrive.
        Cancelled: the client left before its body was complete.
    """
    announced = header(scope, b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > limit:
        raise _too_large(int(announced), limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(len(body), limit)
        return body
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise Cancelled("The client left before its request was complete.")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(size, limit)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Raises InvalidInput for anything else."""
    try:
        value = json.loads(body)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The body is not UTF-8: byte {error.start} is invalid.") from None
    except ValueError as error:
        raise InvalidInput(f"The body is not JSON: {error}.") from None
    except RecursionError:
        raise InvalidInput("The body is not usable JSON: it is nested too deeply.") from None
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise InvalidInput(f"The body is a JSON {kind}; it must be an object {{…}}.")
    return cast(dict[str, Any], value)


def encode(value: Any) -> bytes:
    """Compact UTF-8 JSON. Half a surrogate pair, which UTF-8 lacks, goes out as JSON's escape."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


async def reply_json(
    send: Send, status: int, value: Any, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send one whole JSON answer."""
    body = encode(value)
    length = (b"content-length", str(len(body)).encode())
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [JSON_TYPE, length, *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


class Client(Protocol):
    """Who sent a request, as far as knowing that they left."""

    def watch(self, left: Callable[[], None]) -> None:
        """Call `left` once when the client leaves, until `unwatch`."""

    def unwatch(self, left: Callable[[], None]) -> None: ...


def client_of(scope: Scope, receive: Receive) -> Client:
    """The client of a request whose body has been read.

    Our own server puts one into the scope; elsewhere a task asks `receive`, which costs more.
    """
    extensions: Mapping[str, Any] = scope.get("extensions") or {}
    return extensions.get(CLIENT) or _PolledClient(receive)


class _PolledClient:
    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task: asyncio.Task[None] | None = None

    def watch(self, left: Callable[[], None]) -> None:
        self._task = asyncio.create_task(self._poll(left))

    def unwatch(self, left: Callable[[], None]) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _poll(self, left: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        left()


@asynccontextmanager
async def while_connected(receive: Receive, scope: Scope | None = None) -> AsyncGenerator[None]:
    """Run the block for as long as the client stays; the body must have been read already.

    With `scope`, no task is needed to watch, where the server is our own.

    Raises:
        Cancelled: the client left. What the block awaited has been cancelled.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("while_connected needs a running task")
    gone = False

    def left() -> None:
        nonlocal gone
        gone = True
        task.cancel()

    client = client_of(scope or {}, receive)
    client.watch(left)
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise  # someone else ends this request, such as a server that shuts down
        task.uncancel()
        raise Cancelled("The client left before its answer was complete.") from None
    finally:
        client.unwatch(left)


def _too_large(size: int, limit: int) -> TooLarge:
    return TooLarge(
        f"The body has {size:,} bytes or more; the limit is {limit:,}.",
        remedy="Send fewer or shorter messages.",
    )
