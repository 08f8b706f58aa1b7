"""Append-only event files: how a worker tells the control plane what happens.

A worker appends one JSON object a line; the control plane reads from the byte offset that it has
taken in. Both may be killed at any moment, and the disk may be full: a last line without its
newline is not yet an event, and a part of a line that the next worker found stays a line of its
own, which readers pass over.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, cast


class Spool:
    """The event file of one worker. Appending is atomic for one line of up to a page."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, kind: str, **data: Any) -> None:
        """Add `{"time": seconds since the epoch, "kind": kind, **data}`."""
        line = json.dumps({"time": time.time(), "kind": kind, **data}, ensure_ascii=False) + "\n"
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            os.write(handle, b"\n" * torn + line.encode())
        finally:
            os.close(handle)

    def read(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Events from byte `offset` on, and the offset to go on from."""
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                content = file.read()
        except FileNotFoundError:
            return [], offset
        whole = content[: content.rfind(b"\n") + 1]
        events = [event for line in whole.split(b"\n") if (event := _event(line))]
        return events, offset + len(whole)

    def latest(self, kind: str, *, since: float = 0.0, within: int = 1 << 14) -> dict[str, Any]:
        """The newest event of `kind` among the last `within` bytes, no older than `since`; or {}.

        For whoever only wants to show where a worker is: costs the same however long the file is.
        """
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return {}
        # The first line of the stretch may be a part of one; `_event` passes over that.
        events, _ = self.read(max(0, size - within))
        for event in reversed(events):
            if event["kind"] == kind and event.get("time", 0.0) >= since:
                return event
        return {}


def _event(line: bytes) -> dict[str, Any] | None:
    """The event of a line, or None where a kill or a full disk left only a part of one."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return cast(dict[str, Any], found) if isinstance(found, dict) and "kind" in found else None
