"""One request on its way through the gateway."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from phoundry.serving.asgi import Headers, Receive, Scope, Send, header

if TYPE_CHECKING:
    from phoundry.serving.gateway.passages import Passage
    from phoundry.serving.gateway.routing import Deployment

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
# An id is this process's random half and a number: unique, and without a system call each.
_PROCESS = secrets.token_hex(8)
_numbers = itertools.count()


class Exchange:
    """The request, and what is known of its answer. `status` 0: nothing was answered.

    `copy` sends a copy to a mirror, once the request itself is on its way. `usage` is the
    replica's account of tokens, `PROMPT,COMPLETION`, where it gave one. `cut` is the code of the
    error that ended a stream. `more_headers` go out with
    any answer. `answered` is when the first byte went out, `began` when the head had come, both of
    time.perf_counter.
    """

    __slots__ = (
        "answered",
        "began",
        "copy",
        "cut",
        "deployment",
        "mirrored",
        "more_headers",
        "passage",
        "receive",
        "request_id",
        "scope",
        "send",
        "status",
        "streamed",
        "usage",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.request_id = request_id
        self.deployment: Deployment | None = None
        self.passage: Passage | None = None
        self.copy: Callable[[], None] | None = None
        self.mirrored = False
        self.more_headers: Headers = []
        self.usage: str | None = None
        self.cut = ""
        self.streamed = False
        self.status = 0
        self.answered = 0.0
        self.began = time.perf_counter()

    @classmethod
    def of(cls, scope: Scope, receive: Receive, send: Send) -> Exchange:
        """The caller's x-request-id is kept where it is harmless in a log and a header."""
        given = header(scope, b"x-request-id")
        if given is None or not _REQUEST_ID.fullmatch(given):
            return cls(scope, receive, send, f"{_PROCESS}{next(_numbers):016x}")
        return cls(scope, receive, send, given.decode())

    def own_headers(self) -> Headers:
        """x-request-id, and the deployment once one is chosen."""
        headers = [(b"x-request-id", self.request_id.encode()), *self.more_headers]
        if self.deployment is not None:
            headers.append(self.deployment.header)
        return headers

    async def start(self, status: int, headers: Headers) -> None:
        self.status = status
        self.answered = time.perf_counter()
        headers += self.own_headers()
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def body(self, content: bytes, *, more: bool = False) -> None:
        await self.send({"type": "http.response.body", "body": content, "more_body": more})

    def sent(self) -> None:
        """The request is on its way to a replica: now its copy may go too."""
        copy, self.copy = self.copy, None
        if copy is not None:
            copy()
