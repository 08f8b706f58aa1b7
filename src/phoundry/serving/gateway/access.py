"""The access log: collected in memory, written in batches, off the way of requests.

One JSON object a line: time, request, method, path, endpoint, deployment, status, ms. No query, no
header and no body is ever in it, so no key is. Two files at most: access.jsonl and access.jsonl.1.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from phoundry.serving.gateway.exchange import Exchange

FILE_LIMIT = 16 * 1024 * 1024  # bytes
_PENDING_LIMIT = 100_000  # records; more between two writes are counted and dropped


class AccessLog:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: list[tuple[float, Exchange, float]] = []
        self._dropped = 0

    def add(self, exchange: Exchange) -> None:
        if len(self._pending) >= _PENDING_LIMIT:
            self._dropped += 1
            return
        self._pending.append((time.time(), exchange, time.perf_counter() - exchange.began))

    def flush(self) -> None:
        """Append what is pending; blocks, so the caller runs it on a thread."""
        pending, self._pending = self._pending, []
        dropped, self._dropped = self._dropped, 0
        if not pending and not dropped:
            return
        lines = [_line(*record) for record in pending]
        if dropped:
            lines.append(json.dumps({"time": time.time(), "dropped": dropped}))
        if self._path.exists() and self._path.stat().st_size > FILE_LIMIT:
            self._path.replace(self._path.with_name(self._path.name + ".1"))
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


def _line(moment: float, exchange: Exchange, seconds: float) -> str:
    deployment = exchange.deployment
    record = {
        "time": round(moment, 3),
        "request": exchange.request_id,
        "method": exchange.scope["method"],
        "path": exchange.scope["path"],
        "endpoint": deployment.endpoint if deployment else None,
        "deployment": deployment.name if deployment else None,
        "status": exchange.status,
        "ms": round(seconds * 1000, 2),
    }
    if exchange.mirrored:
        record["mirror"] = True
    return json.dumps(record, ensure_ascii=False)
