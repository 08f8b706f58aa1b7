"""The thread that writes what is collected, and what a record holds."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from phoundry.serving.asgi import Message, encode
from phoundry.serving.replica.joining import joined
from phoundry.specs.collection import Rolling
from phoundry.version import __version__

log = logging.getLogger("phoundry.replica")

MOST_BYTES = 32 * 1024 * 1024  # of requests and answers that wait for the disk
REST_SECONDS = 0.25  # between two writes: one line at a time would be a write a request
COMPLAIN_SECONDS = 60.0
_FORMATS: dict[Rolling, str] = {
    "year": "%Y",
    "month": "%Y/%m",
    "day": "%Y/%m/%d",
    "hour": "%Y/%m/%d/%H",
    "minute": "%Y/%m/%d/%H/%M",
}


@dataclass(slots=True)
class Exchange:
    """One request and its answer, in bytes as they passed. `time`: when it ended, since 1970."""

    collections: tuple[str, ...]
    request_id: str
    path: str
    rolling: Rolling
    time: float = field(default_factory=time.time)
    asked: list[bytes] = field(default_factory=list[bytes])
    answered: list[bytes] = field(default_factory=list[bytes])
    status: int = 0
    streamed: bool = False
    ended: bool = False

    def started(self, message: Message) -> None:
        self.status = message["status"]
        self.streamed = any(
            name == b"content-type" and value.startswith(b"text/event-stream")
            for name, value in message.get("headers", ())
        )

    @property
    def complete(self) -> bool:
        return self.ended and self.status == 200

    @property
    def size(self) -> int:
        return sum(map(len, self.asked)) + sum(map(len, self.answered))


class Writer:
    """Appends records to the files of `folder`, on a thread that the first one starts.

    `instance`: what this replica's files are called. `dropped` counts the requests that were not
    kept because the disk was too slow, full or not writable.
    """

    def __init__(self, folder: Path, instance: str, source: str, model: str) -> None:
        self._folder, self._instance = folder, instance
        self._source, self._model = source, model
        self._waiting: deque[Exchange] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._complained = -COMPLAIN_SECONDS
        self.dropped = 0

    def offer(self, exchange: Exchange) -> bool:
        """Have it written soon. False: too much waits already, so it is dropped and counted."""
        with self._changed:
            if self._closing or self._bytes + exchange.size > MOST_BYTES:
                self._drop(1, "the disk is slower than the requests")
                return False
            self._bytes += exchange.size
            self._waiting.append(exchange)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="collector", daemon=True)
                self._thread.start()
            self._changed.notify()
        return True

    def close(self, seconds: float = 5.0) -> None:
        """Write what waits, for `seconds` at most, and take nothing more."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                taken = list(self._waiting)
                self._waiting.clear()
            try:
                self.write(taken)
            except Exception as error:  # noqa: BLE001 - this thread is never started again
                with self._changed:
                    self._drop(len(taken), f"{type(error).__name__}: {error}")
            with self._changed:
                self._bytes -= sum(each.size for each in taken)
                self._changed.wait_for(lambda: self._closing, REST_SECONDS)

    def write(self, taken: Sequence[Exchange]) -> None:
        """Append the records of these now."""
        lines: dict[Path, list[bytes]] = {}
        for exchange in taken:
            for collection, record in records(exchange, self._source, self._model):
                rolled = datetime.fromtimestamp(exchange.time, UTC)
                folder = self._folder / collection / rolled.strftime(_FORMATS[exchange.rolling])
                lines.setdefault(folder / f"{self._instance}.jsonl", []).append(encode(record))
        for path, found in lines.items():
            try:
                append(path, found)
            except OSError as error:
                with self._changed:
                    self._drop(len(found), str(error.strerror))

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        if time.monotonic() - self._complained >= COMPLAIN_SECONDS:
            self._complained = time.monotonic()
            log.warning("%d requests were not collected so far: %s", self.dropped, why)


def records(exchange: Exchange, source: str, model: str) -> list[tuple[str, dict[str, Any]]]:
    """The record of each collection that keeps this exchange; none where it cannot be read."""
    try:
        bodies = {"model_inputs": json.loads(b"".join(exchange.asked))}
        answer = b"".join(exchange.answered)
        bodies["model_outputs"] = joined(answer) if exchange.streamed else json.loads(answer)
    except (ValueError, RecursionError):
        return []
    if bodies["model_outputs"] is None:  # a stream that broke off
        return []
    when = datetime.fromtimestamp(exchange.time, UTC).isoformat(timespec="milliseconds")
    found: list[tuple[str, dict[str, Any]]] = []
    for name in exchange.collections:
        data = [bodies[name]]
        size = len(encode(data))
        record = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": source,
            "type": f"azureml.inference.{name}",
            "datacontenttype": "application/json",
            "time": when.replace("+00:00", "Z"),
            "data": data,
            "path": exchange.path,
            "method": "POST",
            "correlationid": exchange.request_id,
            "xrequestid": exchange.request_id,
            "modelversion": model,
            "agent": f"phoundry/{__version__}",
            "contentrange": f"bytes 0-{size - 1}/{size}",
        }
        found.append((name, record))
    return found


def append(path: Path, lines: Sequence[bytes]) -> None:
    """Add whole lines; what a kill has left of one stays a line of its own."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "ab") as file:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        file.write(b"\n" * torn + b"".join(line + b"\n" for line in lines))
