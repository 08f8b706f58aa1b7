"""What stands before every route: host and origin, size, token. Raw ASGI, so nothing slips past."""

from __future__ import annotations

import hmac
import json
from typing import Any
from urllib.parse import urlsplit

from phoundry.errors import Forbidden, PhoundryError, TooLarge, Unauthenticated

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
OPEN_PATHS = frozenset({"/healthz"})
MAX_BODY = 1 << 30  # bytes; data sets are uploaded through the API
MAX_JSON = 4 << 20


class Guard:
    """Answers 403 for a foreign Host or Origin (DNS rebinding), 401 without the token, 413."""

    def __init__(self, app: Any, *, token: str, hosts: frozenset[str] = LOOPBACK) -> None:
        self.app = app
        self.token = token.encode()
        self.hosts = hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        try:
            self._check(scope["path"], headers)
        except PhoundryError as error:
            await _answer(send, error)
            return
        await self.app(scope, receive, send)

    def _check(self, path: str, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        if _hostname(f"//{host}") not in self.hosts:
            raise Forbidden(f"The host '{host}' is not one this server answers for.")
        origin = headers.get(b"origin")
        if origin is not None and _hostname(origin.decode("latin-1")) not in self.hosts:
            raise Forbidden("Requests from other web sites are refused.")
        if path in OPEN_PATHS:
            return
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self.token):
            raise Unauthenticated(
                "The control plane's token is missing or wrong.",
                remedy="The command line reads it from PHOUNDRY_HOME; else set PHOUNDRY_TOKEN.",
            )
        length = headers.get(b"content-length", b"0")
        limit = MAX_BODY if path == "/api/data" else MAX_JSON
        if not length.isdigit() or int(length) > limit:
            raise TooLarge(f"The body has {length.decode('latin-1')} bytes; {limit} are the limit.")


def _hostname(url: str) -> str:
    try:
        name = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return f"[{name}]" if ":" in name else name


async def _answer(send: Any, error: PhoundryError) -> None:
    body = json.dumps({"error": error.to_dict()}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
