"""HTTP to llama.cpp's listener in this process: one request a connection, read as it arrives.

aiohttp's client spends more on each piece of an answer (a parser, a stream of lines, two tasks)
than llama.cpp does on the token; here a piece costs one callback. The listener is ours alone, so
the little of HTTP/1.1 that it speaks is all that is understood.

Events are read out at most EVENTS_PER_SECOND times a second over all streams together, the first
and the last of a stream at once: a process that wakes for each token of many streams takes from the
engine's threads what they compute with. One stream has each token as it comes; of eight, two or
three come together.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast
from urllib.parse import urlsplit

from phoundry.errors import ModelError

EVENTS_PER_SECOND = 64
LONGEST_SECONDS = 0.2  # that a token may wait for the next

_HEAD_END = b"\r\n\r\n"
_LAST_EVENT = b'"stop":true'
_MARKS = (b"data: ", b"error: ")


class Listener:
    """Where llama.cpp listens, and the key that it asks for."""

    def __init__(self, address: str, key: str) -> None:
        parts = urlsplit(address)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 0
        self.streams = 0  # that are being read
        self._head = f"Host: {parts.netloc}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n"

    async def post(self, path: str, value: dict[str, Any], *, lazy: bool = False) -> Answer:
        """Send `value` as JSON. The answer must be closed. `lazy`: look at its events at the end.

        Raises:
            ModelError: nobody listens.
        """
        body = json.dumps(value).encode()
        head = f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        return await self._send(head.encode() + body, lazy)

    async def get(self, path: str) -> bytes:
        """The body of a page. Raises ModelError where there is none."""
        answer = await self._send(f"GET {path} HTTP/1.1\r\n{self._head}\r\n".encode())
        try:
            return await answer.whole()
        finally:
            answer.close()

    @property
    def pause(self) -> float:
        """Seconds from one look at a stream to the next."""
        return min(LONGEST_SECONDS, self.streams / EVENTS_PER_SECOND)

    async def _send(self, request: bytes, lazy: bool = False) -> Answer:
        loop = asyncio.get_running_loop()
        try:
            _, answer = await loop.create_connection(
                lambda: Answer(loop, self, request, lazy), self._host, self._port
            )
        except OSError as error:
            raise ModelError(f"llama.cpp stopped answering: {error}") from None
        return answer


class Answer(asyncio.Protocol):
    """The answer to one request, as far as it has come."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, listener: Listener, request: bytes, lazy: bool
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next_look = 0.0  # of loop.time()
        self._streaming = False
        self._lazy = lazy
        self._raw = bytearray()  # arrived, not yet understood
        self._line = b""  # the beginning of an event
        self._left: int | None = None  # bytes of the body to come; None: in chunks
        self._status = 0
        self._ended = self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._raw += data
        if _LAST_EVENT in data or (not self._lazy and self._loop.time() >= self._next_look):
            self._wake()
        elif not self._lazy and self._timer is None:
            # Nearly always the next token comes first, and no wake is spent on the timer.
            self._timer = self._loop.call_later(LONGEST_SECONDS, self._wake)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._wake()

    def close(self) -> None:
        """Hang up: llama.cpp then frees the slot of a request that it has not answered."""
        if self._streaming:
            self._listener.streams -= 1
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    async def events(self) -> list[dict[str, Any]]:
        """The events that have come since, at least one; none at the end of the stream.

        Raises:
            ModelError: llama.cpp refused, failed or broke off.
        """
        while True:
            body = await self._read()
            if self._status != 200:
                raise _refused(body + await self.rest())
            if not body:
                return []
            *lines, self._line = (self._line + body).split(b"\n")
            found = [_event(line) for line in lines if line.startswith(_MARKS)]
            if found:
                self._rest_a_while()
                return found

    def _rest_a_while(self) -> None:
        if not self._streaming:
            self._streaming = True
            self._listener.streams += 1
        self._next_look = self._loop.time() + self._listener.pause

    async def whole(self) -> bytes:
        """The body of an answer that is no stream. Raises ModelError as `events`."""
        body = await self.rest()
        if self._status != 200:
            raise _refused(body)
        return body

    async def rest(self) -> bytes:
        """All of the body that has not been read."""
        parts: list[bytes] = []
        while part := await self._read():
            parts.append(part)
        return b"".join(parts)

    async def _read(self) -> bytes:
        """What has come of the body since; empty at its end."""
        while True:
            part = self._take()
            if part or self._ended:
                return part
            if self._lost:
                raise ModelError("llama.cpp broke its answer off.")
            self._waiter = self._loop.create_future()
            await self._waiter

    def _take(self) -> bytes:
        if not self._status and not self._take_head():
            return b""
        if self._left is None:
            return self._take_chunks()
        part = bytes(self._raw[: self._left])
        del self._raw[: self._left]
        self._left -= len(part)
        self._ended = not self._left
        return part

    def _take_head(self) -> bool:
        end = self._raw.find(_HEAD_END)
        if end < 0:
            return False
        status, *fields = bytes(self._raw[:end]).lower().split(b"\r\n")
        del self._raw[: end + len(_HEAD_END)]
        self._status = int(status.split(b" ", 2)[1])
        for name, _, value in (field.partition(b":") for field in fields):
            if name == b"content-length":
                self._left = int(value)
        return True

    def _take_chunks(self) -> bytes:
        raw = self._raw
        parts: list[bytes] = []
        at = 0
        while (line := raw.find(b"\r\n", at)) >= 0:
            size = int(raw[at:line], 16)
            if len(raw) < line + 4 + size:
                break
            parts.append(bytes(raw[line + 2 : line + 2 + size]))
            at = line + 4 + size
            if not size:
                self._ended = True
                break
        del raw[:at]
        return b"".join(parts)

    def _wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _event(line: bytes) -> dict[str, Any]:
    mark, _, text = line.partition(b": ")
    event: dict[str, Any] = json.loads(text)
    if mark == b"error" or "error" in event:
        raise ModelError(f"llama.cpp failed: {_reason(text)}")
    return event


def _refused(body: bytes) -> ModelError:
    return ModelError(f"llama.cpp refused: {_reason(body)}")


def _reason(body: bytes) -> str:
    """The message in `{"error": {"message"}}`, or of the bare error that an event may be."""
    try:
        value = json.loads(body)
        return str(value.get("error", value)["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return body[:200].decode("utf-8", "replace")
