"""Where a replica is reached, with the connections to it that stay open."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

from phoundry.serving.gateway.connection import Connection

# A replica closes idle connections after 75 s; we do before, so none is found dead.
IDLE_SECONDS = 30.0
# How long a replica that refused is passed over, and how long it may take to accept a connection.
REST_SECONDS = 1.0
CONNECT_SECONDS = 3.0


class Upstream:
    """One replica. It outlives changes of the table that keep its address and token."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._head = (
            f" HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nx-request-id: "
        ).encode()
        self._idle: list[Connection] = []
        self.in_flight = 0
        self.resting_until = 0.0  # of time.monotonic
        self.retired = False  # no table names it any more

    def request(self, path: str, request_id: str, body: bytes, more: bytes = b"") -> bytes:
        """The bytes of a POST. `more` are whole further lines of its head."""
        return b"POST %b%b%b\r\n%bContent-Length: %d\r\n\r\n%b" % (
            path.encode(),
            self._head,
            request_id.encode(),
            more,
            len(body),
            body,
        )

    def look(self, path: str) -> bytes:
        """The bytes of a GET."""
        return b"GET %b%bgateway\r\n\r\n" % (path.encode(), self._head)

    async def connect(self) -> Connection:
        """A connection for one request: an idle one, or a new one. Each must be released.

        Raises:
            OSError: the replica accepts none (TimeoutError among them).
        """
        self.in_flight += 1
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await asyncio.get_running_loop().create_connection(
                    Connection, self._host, self._port
                )
        except BaseException:
            self.in_flight -= 1
            raise
        return connection

    def release(self, connection: Connection) -> None:
        """Keep the connection for the next request, or hang up where its answer is not complete."""
        self.in_flight -= 1
        if connection.reusable and not self.retired:
            connection.forget()
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()

    def rest(self) -> None:
        """It refused: pass it over for a moment."""
        self.resting_until = time.monotonic() + REST_SECONDS

    def rests(self, now: float) -> bool:
        """Whether it is passed over; `now` is of time.monotonic."""
        return self.resting_until > now

    def close_idle(self, before: float) -> None:
        """Hang up what has been idle since before this moment of time.monotonic."""
        keep = [c for c in self._idle if c.idle_since >= before and c.reusable]
        for connection in self._idle:
            if connection not in keep:
                connection.close()
        self._idle = keep

    def retire(self) -> None:
        """No new requests: requests in flight end, idle connections now."""
        self.retired = True
        self.close_idle(float("inf"))
