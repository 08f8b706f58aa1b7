"""What stands before every route: host and origin, size, token. Raw ASGI, so nothing slips past."""

from __future__ import annotations

import hmac
import json
from typing import Any

from phoundry.errors import PhoundryError, TooLarge, Unauthenticated
from phoundry.serving.hosts import HostCheck

OPEN_PATHS = frozenset({"/healthz"})
MAX_BODY = 4 << 30  # bytes of one file; it is streamed to disk
MAX_JSON = 4 << 20
UPLOADS = "/api/data/files"


class Guard:
    """Answers 403 for a foreign Host or Origin (DNS rebinding), 401 without the token, 413."""

    def __init__(self, app: Any, *, token: str, names: tuple[str, ...] = ()) -> None:
        """`names`: hosts that are this server's own besides those of loopback."""
        self.app = app
        self.token = token.encode()
        self.hosts = HostCheck(*names)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self.hosts.check(scope)
            if scope["path"] in OPEN_PATHS:
                limit = 0
            else:
                headers = dict(scope["headers"])
                self._check_token(headers)
                limit = MAX_BODY if scope["path"] == UPLOADS else MAX_JSON
                _check_length(headers, limit)
        except PhoundryError as error:
            await _answer(send, error)
            return
        await self._bounded(scope, receive, send, limit)

    async def _bounded(self, scope: Any, receive: Any, send: Any, limit: int) -> None:
        """Run the app; a body that comes in chunks tells its size only as it comes."""
        size = 0
        answered = False

        async def receiving() -> Any:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise _Overflow
            return message

        async def sending(message: Any) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, receiving, sending)
        except _Overflow:
            if answered:
                raise
            await _answer(send, _too_large(f"more than {limit:,}", limit))

    def _check_token(self, headers: dict[bytes, bytes]) -> None:
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self.token):
            raise Unauthenticated(
                "The control plane's token is missing or wrong.",
                remedy="The command line reads it from PHOUNDRY_HOME; else set PHOUNDRY_TOKEN.",
            )


class _Overflow(BaseException):
    """The body has grown over its limit. No `Exception`: a router must not answer it as a fault."""


def _check_length(headers: dict[bytes, bytes], limit: int) -> None:
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > limit:
        raise _too_large(length[:20].decode("latin-1"), limit)


def _too_large(size: str, limit: int) -> TooLarge:
    remedy = (
        "Compress the file (.gz, .zst), or split it into several and give their folder."
        if limit == MAX_BODY
        else None
    )
    return TooLarge(f"The body has {size} bytes; {limit:,} are the limit.", remedy=remedy)


async def _answer(send: Any, error: PhoundryError) -> None:
    body = json.dumps({"error": error.to_dict()}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
