"""One request on its way through the gateway."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass, field

from phoundry.serving.asgi import Headers, Receive, Scope, Send, header
from phoundry.serving.gateway.routing import Deployment

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


@dataclass(slots=True)
class Exchange:
    """The request, and what is known of its answer. `status` 0: nothing was answered."""

    scope: Scope
    receive: Receive
    send: Send
    request_id: str
    deployment: Deployment | None = None
    status: int = 0
    began: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, scope: Scope, receive: Receive, send: Send) -> Exchange:
        """The caller's x-request-id is kept where it is harmless in a log and a header."""
        given = header(scope, b"x-request-id")
        if given is None or not _REQUEST_ID.fullmatch(given):
            return cls(scope, receive, send, secrets.token_hex(16))
        return cls(scope, receive, send, given.decode())

    def own_headers(self) -> Headers:
        """x-request-id, and the deployment once one is chosen."""
        headers = [(b"x-request-id", self.request_id.encode())]
        if self.deployment is not None:
            headers.append(self.deployment.header)
        return headers

    async def start(self, status: int, headers: Headers) -> None:
        self.status = status
        headers += self.own_headers()
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def body(self, content: bytes, *, more: bool = False) -> None:
        await self.send({"type": "http.response.body", "body": content, "more_body": more})
