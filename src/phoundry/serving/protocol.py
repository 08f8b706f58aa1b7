"""The connections of our own servers: heads bounded, slowness bounded, and little cost.

Who begins a request and does not end it is answered with 408: half a head holds a connection, and
half a body holds its bytes. Who does not read what is answered is hung up on. Once a second all
connections are looked at (`expire`), which is cheaper than a timer for each request. And a request
can ask to be told when its client leaves, without a task that waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from phoundry.serving.asgi import CLIENT
from phoundry.serving.heads import BoundedHeads, refusal

HEAD_SECONDS = 20.0  # from a connection, or the first byte of a request, to the end of its head
BODY_SECONDS = 60.0  # from there to the end of its body
IDLE_SECONDS = 75.0  # between two requests of a connection
UNREAD_SECONDS = 60.0  # in which a client takes nothing of what is there for it

_TOO_SLOW = refusal(
    b"408 Request Timeout",
    "RequestTimeout",
    f"The request did not arrive in time: its headers have {HEAD_SECONDS:g} s, its body "
    f"{BODY_SECONDS:g} s.",
)


class WatchedConnection(BoundedHeads):
    """A connection that `listen.serve` accepted. It is the `asgi.Client` of its requests."""

    unread_seconds = UNREAD_SECONDS
    too_slow = _TOO_SLOW

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._watching: set[Callable[[], None]] = set()
        self._extensions = {CLIENT: self}
        # When the request that has not wholly arrived began to, and how long it may take.
        self._arriving: float | None = None
        self._seconds = HEAD_SECONDS
        self._answered = 0.0  # when the last answer ended
        self._unread = 0  # bytes that the client had not taken when we last looked …
        self._unread_since = 0.0  # … and since when it has taken none

    # a request's side

    def watch(self, left: Callable[[], None]) -> None:
        self._watching.add(left)
        if self.transport.is_closing():
            self.loop.call_soon(self._tell)
        else:
            self.flow.resume_reading()  # a long body paused it; who does not read sees no end

    def unwatch(self, left: Callable[[], None]) -> None:
        self._watching.discard(left)

    def _tell(self) -> None:
        watching, self._watching = self._watching, set()
        for left in watching:
            left()

    # the server's side

    def expire(self, now: float) -> None:
        """End the connection where its time is over."""
        if self._takes_nothing(now):
            self.transport.abort()  # close() would wait until it has taken everything
            return
        if self.transport.is_closing():
            return
        # There is no cycle before the first request, whatever its type says.
        busy = bool(self.cycle and not self.cycle.response_complete)
        if self._arriving is None:
            if not busy and now - self._answered > IDLE_SECONDS:
                self.transport.close()
        elif self.pipeline or (busy and self._seconds == HEAD_SECONDS):
            pass  # sent ahead: we may not be reading, and the request before it shall not suffer
        elif now - self._arriving > self._seconds:
            self._refuse(self.too_slow)

    def _takes_nothing(self, now: float) -> bool:
        """Whether the client is waited for, and has been for too long.

        It is where an answer stops for it (`write_paused`), or where all that is left is to send
        the rest. A slow one that takes some of it each minute may take its time.
        """
        waited_for = self.flow.write_paused or self.transport.is_closing()
        size = self.transport.get_write_buffer_size() if waited_for else 0
        before, self._unread = self._unread, size
        if not self._unread or self._unread < before or not before:
            self._unread_since = now
        return now - self._unread_since > self.unread_seconds

    # asyncio's side

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._arriving = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._tell()
        # No cycle may stay: what the collector has been told to pass over (the gateway freezes its
        # tables, with all that is open then) it never looks at again.
        self._extensions.clear()
        self.pipeline.clear()
        self.cycle = None  # pyright: ignore[reportAttributeAccessIssue]

    def data_received(self, data: bytes) -> None:
        if self._arriving is None:
            self._arriving = self.loop.time()
            self._seconds = HEAD_SECONDS
        super().data_received(data)

    def on_response_complete(self) -> None:
        """uvicorn's own, less the timer that it sets for every pause between two requests.

        And it reads on only when nothing waits: one read has thousands of small requests, so who
        read one for each answer would fill the memory.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._answered = self.loop.time()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.flow.resume_reading()

    # the parser's side

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = self._extensions  # pyright: ignore[reportGeneralTypeIssues]

    def on_headers_complete(self) -> None:
        self._arriving = self.loop.time()
        self._seconds = BODY_SECONDS
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._arriving = None
        super().on_message_complete()
