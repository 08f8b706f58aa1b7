"""`GET /metrics`: who may read it, and sending it without keeping requests waiting.

All of it opens to the token in `metrics.token` beside `ready.json` (mode 0600, the same over
restarts), which is for a Prometheus of this machine (`authorization: credentials_file:`). A key or
token of an endpoint opens that endpoint's series alone.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Iterator
from pathlib import Path

from phoundry.files import PRIVATE, write_atomic
from phoundry.serving.exposition import CONTENT_TYPE
from phoundry.serving.gateway.exchange import Exchange
from phoundry.serving.gateway.harvest import Harvest
from phoundry.serving.gateway.metrics import Metrics, in_flight
from phoundry.serving.gateway.routing import Router

PATH = "/metrics"
TOKEN_FILE = "metrics.token"  # noqa: S105 - the file's name
_PIECE = 16 * 1024  # characters that are put together before requests have their turn
_LEAST = 32  # characters of a token that we made


def token_of(run_dir: Path) -> str:
    """The token of this run folder, made anew where there is none, or others could have read it."""
    path = run_dir / TOKEN_FILE
    if path.exists() and not path.stat().st_mode & 0o077:
        token = path.read_text(encoding="ascii", errors="replace").strip()
        if len(token) >= _LEAST:
            return token
    token = secrets.token_urlsafe(32)
    write_atomic(path, token + "\n", mode=PRIVATE)
    return token


class MetricsPage:
    """`metrics` is what the application counts into."""

    def __init__(self, router: Router, token: str) -> None:
        self.metrics = Metrics()
        self._router = router
        self._token = token.encode()
        self._harvest = Harvest()

    def opens(self, key: bytes) -> bool:
        """Whether `key` is the token that opens all of it."""
        return hmac.compare_digest(self._token, key)

    async def answer(self, exchange: Exchange, names: frozenset[str] | None) -> None:
        """Send the series of all endpoints, or of those `names`."""
        endpoints = self._router.endpoints
        chosen = [each for name, each in endpoints.items() if names is None or name in names]
        await self._harvest.gather(chosen)
        if names is None:
            self.metrics.forget(endpoints)
            self._harvest.forget(endpoints)
        await exchange.start(200, [CONTENT_TYPE, (b"cache-control", b"no-store")])
        for part in (self.metrics.text(names), in_flight(chosen), self._harvest.text(names)):
            for piece in _pieces(part):
                await exchange.body(piece, more=True)
                await asyncio.sleep(0)
        await exchange.body(b"")


def _pieces(lines: Iterator[str]) -> Iterator[bytes]:
    parts: list[str] = []
    size = 0
    for line in lines:
        parts.append(line)
        size += len(line)
        if size >= _PIECE:
            yield "".join(parts).encode()
            parts, size = [], 0
    if parts:
        yield "".join(parts).encode()
