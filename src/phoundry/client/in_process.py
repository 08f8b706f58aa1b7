"""An ASGI app as a synchronous httpx transport."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx


class InProcessTransport(httpx.BaseTransport):
    """Calls `app` in this process, one request at a time, each on an event loop of its own.

    The app's lifespan does not run: what it would start belongs to a control plane.
    """

    def __init__(self, app: Any) -> None:
        self._asgi = httpx.ASGITransport(app=app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        return _run(self._call(request, body))

    async def _call(self, request: httpx.Request, body: bytes) -> httpx.Response:
        again = httpx.Request(request.method, request.url, headers=request.headers, content=body)
        response = await self._asgi.handle_async_request(again)
        content = await response.aread()
        return httpx.Response(response.status_code, headers=response.headers, content=content)


def _run(call: Any) -> Any:
    """The result of a coroutine, also where a loop already runs (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(call)
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            outcome["result"] = asyncio.run(call)
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
            outcome["error"] = error

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]
