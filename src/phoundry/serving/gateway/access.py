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


# Time, request, method, path, endpoint, deployment, status, ms, whether a mirror's. Plain values,
# not the exchange: a record is kept for half a second, and nothing else shall be kept with it, nor
# shall the garbage collector look through thousands of them.
Record = tuple[float, str, str, str, str | None, str | None, int, float, bool]


class AccessLog:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: list[Record] = []
        self._dropped = 0

    def add(self, exchange: Exchange) -> None:
        if len(self._pending) >= _PENDING_LIMIT:
            self._dropped += 1
            return
        scope, deployment = exchange.scope, exchange.deployment
        self._pending.append(
            (
                time.time(),
                exchange.request_id,
                scope["method"],
                scope["path"],
                deployment.endpoint if deployment else None,
                deployment.name if deployment else None,
                exchange.status,
                (time.perf_counter() - exchange.began) * 1000,
                exchange.mirrored,
            )
        )

    def flush(self) -> None:
        """Append what is pending; blocks, so the caller runs it on a thread.

        Raises:
            OSError: the disk refused. The records are counted as dropped, and kept no longer.
        """
        pending, self._pending = self._pending, []
        dropped, self._dropped = self._dropped, 0
        if not pending and not dropped:
            return
        lines = [_line(*record) for record in pending]
        if dropped:
            lines.append(json.dumps({"time": time.time(), "dropped": dropped}))
        try:
            self._append(lines)
        except OSError:
            self._dropped += dropped + len(pending)
            raise

    def _append(self, lines: list[str]) -> None:
        if self._path.exists() and self._path.stat().st_size > FILE_LIMIT:
            self._path.replace(self._path.with_name(self._path.name + ".1"))
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


def _line(
    moment: float,
    request: str,
    method: str,
    path: str,
    endpoint: str | None,
    deployment: str | None,
    status: int,
    milliseconds: float,
    mirrored: bool,
) -> str:
    """By hand: a third of what json.dumps of a dictionary takes from requests meanwhile."""
    return (
        f'{{"time": {moment:.3f}, "request": "{request}", "method": {_quoted(method)}, '
        f'"path": {_quoted(path)}, "endpoint": {_quoted(endpoint)}, '
        f'"deployment": {_quoted(deployment)}, "status": {status}, "ms": {milliseconds:.2f}'
        f"{_MIRROR if mirrored else ''}}}"
    )


_MIRROR = ', "mirror": true'


def _quoted(text: str | None) -> str:
    return "null" if text is None else json.encoder.encode_basestring(text)
