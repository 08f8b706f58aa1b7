"""One HTTP/1.1 connection to a replica: one request at a time, its answer whole or in pieces.

It does the little that the gateway needs, and costs a third of a general client: no URL, no
redirect, no cookie, no decoding; the request is bytes that were put together beforehand.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools

_EVENTS = b"text/event-stream"
_HIGH_WATER = 256 * 1024  # bytes of a stream that the client has not taken yet


class BrokenOff(Exception):
    """The connection ended, or made no sense, before the answer was complete."""


class Connection(asyncio.Protocol):
    """After `ask`: `status`, `headers` (names in lower case) and `body`, or a stream's pieces.

    Used by one event loop; not safe across threads.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpResponseParser(self)  # None once the connection is lost
        self._waiting: asyncio.Future[None] | None = None
        self._parts: list[bytes] = []
        self._held = 0  # bytes in _parts, counted for streams alone
        self._paused = False
        self._complete = True
        self._keep = True
        self.closed = False
        self.idle_since = 0.0
        self.status = 0
        self.streamed = False
        self.headers: dict[bytes, bytes] = {}

    @property
    def reusable(self) -> bool:
        """Whether it may carry another request: not one whose reading a stream paused."""
        return self._complete and self._keep and not self.closed and not self._paused

    @property
    def body(self) -> bytes:
        """Of a whole answer."""
        return b"".join(self._parts) if len(self._parts) != 1 else self._parts[0]

    def ask(self, request: bytes) -> asyncio.Future[None]:
        """Send `request`; wait for what this returns.

        It ends with the whole answer, or with the head of an event stream.

        Raises:
            BrokenOff: neither came (the future raises it too).
        """
        if self.closed:
            raise BrokenOff
        self.status = 0
        self.streamed = False
        self.headers = {}
        self._parts = []
        self._held = 0
        self._complete = False
        self._waiting = self._loop.create_future()
        self._transport.write(request)
        return self._waiting

    async def piece(self) -> bytes:
        """What has come of a stream since the last call; empty at its end.

        Raises:
            BrokenOff: the connection ended and the stream did not.
        """
        while not self._parts:
            if self._complete:
                return b""
            if self.closed:
                raise BrokenOff
            self._waiting = self._loop.create_future()
            await self._waiting
        piece = self.body
        self._parts = []
        self._held = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return piece

    def forget(self) -> None:
        """Its answer has been passed on: an idle connection holds none."""
        self._parts = []
        self.headers = {}

    def close(self) -> None:
        """Hang up, whatever is under way; a replica stops generating then."""
        self.closed = True
        self._transport.abort()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._complete:
            self.close()  # nothing was asked: the answers would be off by one from here
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.close()
            self._break_off()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._break_off()
        # The parser has us, and the future's traceback may: what was frozen (`reload`) while it was
        # open is in no collection, so a cycle would stay for good.
        self._parser = None

    def _break_off(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(BrokenOff())

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # the parser's side

    def on_message_begin(self) -> None:
        if self._complete:
            raise BrokenOff  # a second answer in the same read: the parser ends, and so do we

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        kind = self.headers.get(b"content-type", b"")
        if self.status == 200 and kind.startswith(_EVENTS):
            self.streamed = True
            self._wake()

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)
        if not self.streamed:
            return
        self._held += len(body)
        if self._held > _HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        self._complete = True
        self._keep = self._parser.should_keep_alive()
        self._wake()
