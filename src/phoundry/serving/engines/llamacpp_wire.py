"""HTTP to llama.cpp's listener in this process: one request a connection, read as it arrives.

aiohttp's client spends more on each piece of an answer (a parser, a stream of lines, two tasks)
than llama.cpp does on the token; here a piece costs one callback. The listener is ours alone, so
the little of HTTP/1.1 that it speaks is all that is understood.

Events are read out at looks (`pacing`), the first and the last of a stream at once. Between two
looks the system is asked to tell nothing less than a lot (SO_RCVLOWAT), so that this process sleeps
while llama.cpp computes; the listener hangs up after the last event, and that is always told. Where
the system knows no such thing, each event is told, which costs more and changes nothing else.
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from phoundry.errors import ModelError
from phoundry.serving.engines.pacing import pause

_HEAD_END = b"\r\n\r\n"
_MARKS = (b"data: ", b"error: ")
_ANYTHING, _A_LOT = 1, 16 * 1024  # bytes; an event has about a hundred and fifty
_READ = 64 * 1024


class Listener:
    """Where llama.cpp listens, and the key that it asks for."""

    def __init__(self, address: str, key: str) -> None:
        parts = urlsplit(address)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 0
        self.streams = 0  # that have begun
        self._resting: set[Answer] = set()
        self._look: asyncio.TimerHandle | None = None
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

    async def _send(self, request: bytes, lazy: bool = False) -> Answer:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(connection, (self._host, self._port))
            await loop.sock_sendall(connection, request)
        except OSError as error:
            connection.close()
            raise ModelError(f"llama.cpp stopped answering: {error}") from None
        except BaseException:
            connection.close()
            raise
        return Answer(loop, self, connection, lazy)

    def rest(self, answer: Answer) -> None:
        """Look at `answer` at the next look, which is the same for all that rest."""
        self._resting.add(answer)
        if self._look is None:
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(pause(self.streams), self._look_at_all)

    def rests(self, answer: Answer) -> bool:
        return answer in self._resting

    def forget(self, answer: Answer) -> None:
        self._resting.discard(answer)

    def _look_at_all(self) -> None:
        self._look = None
        resting, self._resting = self._resting, set()
        for answer in resting:
            answer.look()


class Answer:
    """The answer to one request, as far as it has come. `lazy`: it is wanted once it is whole."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: Listener,
        connection: socket.socket,
        lazy: bool,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._connection = connection
        self._waiter: asyncio.Future[None] | None = None
        self._lazy = lazy
        self._streaming = False
        self._told_from = _ANYTHING  # bytes
        self._told_at = loop.time()  # when events were last handed on
        self._raw = bytearray()  # arrived, not yet understood
        self._line = b""  # the beginning of an event
        self._left: int | None = None  # bytes of the body to come; None: in chunks
        self._status = 0
        self._ended = self._lost = self._closed = False
        if lazy:
            self._wake_for(_A_LOT)
        loop.add_reader(connection, self._receive)

    def close(self) -> None:
        """Hang up: llama.cpp then frees the slot of a request that it has not answered."""
        if not self._closed:
            self._closed = True
            self._listener.forget(self)
            self._listener.streams -= self._streaming
            self._loop.remove_reader(self._connection)
            self._connection.close()

    def look(self) -> None:
        """Take what has come. Who has got nothing meanwhile is told of the next byte at once."""
        if not self._receive():
            self._wake_for(_ANYTHING)

    def _receive(self) -> bool:
        """Whether anything had come."""
        if self._closed or self._lost:
            return True
        try:
            data = self._connection.recv(_READ)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self._raw += data
        else:
            self._lost = True
            self._loop.remove_reader(self._connection)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        return True

    def _wake_for(self, size: int) -> None:
        if size != self._told_from and not self._lost:
            self._told_from = size
            with suppress(OSError):  # a hint
                self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

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
                self._rest_a_while(len(found))
                return found

    def _rest_a_while(self, events: int) -> None:
        """Until the next look, or the end of the stream. What is lazy sleeps for good, and who is
        slower than looks come is told of each event."""
        if self._lazy or self._lost or self._closed:
            return
        if not self._streaming:
            self._streaming = True
            self._listener.streams += 1
        before, self._told_at = self._told_at, self._loop.time()
        if events > 1 or self._told_at - before < pause(self._listener.streams):
            self._wake_for(_A_LOT)
            self._listener.rest(self)

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
            if not (self._lazy or self._listener.rests(self)):
                self._wake_for(_ANYTHING)  # half an event came: the rest is there in a moment
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
