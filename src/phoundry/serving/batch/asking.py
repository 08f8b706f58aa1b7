"""Asking a replica's application without a network: the same checks, renderer and dialects.

What a batch answers is what the endpoint would have answered, because it is the same code.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from phoundry.serving.asgi import JSON_TYPE, Message, Receive, Scope, Send, encode
from phoundry.serving.batch.answers import Answer, new_id, usage_of
from phoundry.serving.batch.requests import Bad, Request

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
ATTEMPTS = 2  # of a request on which the engine fails


class Asker:
    """Asks one application, as the gateway would."""

    def __init__(self, app: Application, token: str) -> None:
        self._app = app
        self._headers = [
            (b"host", b"127.0.0.1"),
            (b"authorization", f"Bearer {token}".encode()),
            JSON_TYPE,
        ]

    async def ask(self, request: Request) -> Answer:
        """The answer, or the error that the application gave instead."""
        status, body, request_id = 0, {}, ""
        for _ in range(ATTEMPTS):
            request_id = f"req_{secrets.token_hex(12)}"
            status, body = await self._call(request, request_id)
            if status < 500:
                break
        prompt, completion = usage_of(body)
        return Answer(
            request.index,
            {
                "id": new_id(request.index),
                "custom_id": request.custom_id,
                "response": {"status_code": status, "request_id": request_id, "body": body},
                "error": None,
            },
            failed=status != 200,
            broken=status >= 500,
            prompt_tokens=prompt,
            completion_tokens=completion,
        )

    async def _call(self, request: Request, request_id: str) -> tuple[int, Any]:
        content = encode(request.body)
        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": request.url,
            "query_string": b"",
            "headers": [
                *self._headers,
                (b"content-length", str(len(content)).encode()),
                (b"x-request-id", request_id.encode()),
            ],
        }
        unread = [{"type": "http.request", "body": content, "more_body": False}]
        status, parts = 0, list[bytes]()

        async def receive() -> Message:
            if unread:
                return unread.pop()
            return await asyncio.get_running_loop().create_future()  # this client never leaves

        async def send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            parts.append(message.get("body", b""))

        await self._app(scope, receive, send)
        return status, json.loads(b"".join(parts))


def refused(bad: Bad) -> Answer:
    """The error line of a line that cannot be asked."""
    error = {"code": "InvalidInput", "message": f"{bad.row.where}: {bad.row.reason}"}
    record = {
        "id": new_id(bad.index),
        "custom_id": f"line-{bad.row.line}",
        "response": None,
        "error": error,
    }
    return Answer(bad.index, record, failed=True)
