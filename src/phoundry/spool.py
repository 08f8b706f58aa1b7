"""Append-only event files: how a worker tells the control plane what happens.

A worker appends one JSON object a line; the control plane reads from the byte offset that it has
taken in. Both may be killed at any moment: a last line without its newline is not yet an event.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


class Spool:
    """The event file of one worker. Appending is atomic for one line of up to a page."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, kind: str, **data: Any) -> None:
        """Add `{"time": seconds since the epoch, "kind": kind, **data}`."""
        line = json.dumps({"time": time.time(), "kind": kind, **data}, ensure_ascii=False) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, line.encode())
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
        return [json.loads(line) for line in whole.splitlines() if line], offset + len(whole)
