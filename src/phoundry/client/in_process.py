"""An ASGI app as a synchronous httpx transport, with bodies that stream both ways."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from queue import Full, Queue
from typing import Any

import httpx

AHEAD = 8  # pieces of an answer that may wait to be read
SOON = 0.05  # seconds between two looks whether the other side is still there


class InProcessTransport(httpx.BaseTransport):
    """Calls `app` in this process, each request on a thread with an event loop of its own.

    The app's lifespan does not run: what it would start belongs to a control plane.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        call = _Call(self._app, request)
        status, headers = call.start()
        return httpx.Response(status, headers=headers, stream=_Body(call))


class _Body(httpx.SyncByteStream):
    def __init__(self, call: _Call) -> None:
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        return self._call.pieces()

    def close(self) -> None:
        self._call.end()


class _Call:
    """One request on its way through the app, whose messages come through a bounded queue.

    Who stops waiting (Ctrl-C, an answer that is not read to its end) is to the app a client that
    has disconnected, just as over a network.
    """

    def __init__(self, app: Any, request: httpx.Request) -> None:
        self._app, self._request = app, request
        self._messages: Queue[Any] = Queue(maxsize=AHEAD)
        self._gone = threading.Event()
        self._error: BaseException | None = None
        # A thread: a loop may already run in this one (a notebook).
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._run,), daemon=True)

    def start(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Status and headers, once the app has sent them."""
        self._thread.start()
        message = self._next()
        return message["status"], list(message.get("headers", []))

    def pieces(self) -> Iterator[bytes]:
        more = True
        while more:
            message = self._next()
            more = message.get("more_body", False)
            yield message.get("body", b"")
        self.end()
        if self._error is not None:  # a fault of the app, after it had answered that it met one
            raise self._error

    def end(self) -> None:
        """Return once the app is done; it is told that nobody reads on."""
        self._gone.set()
        self._thread.join()

    def _next(self) -> Any:
        try:
            message = self._messages.get()
        except BaseException:
            self.end()
            raise
        if isinstance(message, BaseException):
            self.end()
            raise message
        return message

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
            self._error = error
            self._hand_over(error)

    async def _serve(self) -> None:
        url = self._request.url
        scope = {
            "type": "http",
            # 2.4: who sends to a caller that has gone gets an OSError.
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self._request.method,
            "headers": [(name.lower(), value) for name, value in self._request.headers.raw],
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.split(b"?")[0],
            "query_string": url.query,
            "server": (url.host, url.port),
            "client": ("127.0.0.1", 0),
            "root_path": "",
        }
        stream = self._request.stream
        assert isinstance(stream, httpx.SyncByteStream)  # noqa: S101 - of a synchronous client
        body: Iterator[bytes] | None = iter(stream)

        async def receive() -> dict[str, Any]:
            nonlocal body
            while body is None:
                if self._gone.is_set():
                    return {"type": "http.disconnect"}
                await asyncio.sleep(SOON)
            if (piece := next(body, None)) is None:
                body = None
            return {"type": "http.request", "body": piece or b"", "more_body": body is not None}

        async def send(message: Any) -> None:
            if not self._hand_over(message):
                raise ConnectionResetError("The caller has gone.")

        await self._app(scope, receive, send)

    def _hand_over(self, message: Any) -> bool:
        """Put a message where the caller finds it. False once the caller has gone."""
        while not self._gone.is_set():
            try:
                self._messages.put(message, timeout=SOON)
            except Full:
                continue
            return True
        return False
