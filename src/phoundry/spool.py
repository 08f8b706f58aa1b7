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

from phoundry.files import read_json, write_atomic


class Spool:
    """The event file of one worker. Appending is atomic for one line of up to a page."""

    def __init__(self, path: Path, *, mode: int = 0o644) -> None:
        self.path, self._mode = path, mode

    def append(self, kind: str, **data: Any) -> None:
        """Add `{"time": seconds since the epoch, "kind": kind, **data}`."""
        line = json.dumps({"time": time.time(), "kind": kind, **data}, ensure_ascii=False) + "\n"
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, self._mode)
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


class BoundedSpool:
    """Events of one worker in numbered files of a folder, 0600: what is much, and may be lost.

    A file that has reached `size` bytes is followed by another, and the oldest of more than `files`
    is removed, read or not: a worker that nobody listens to fills no disk. Who reads notes its
    place in `taken.json` and removes what it has read.
    """

    def __init__(self, folder: Path, *, size: int = 4_000_000, files: int = 4) -> None:
        self.folder, self._size, self._files = folder, size, files
        self._number = 0  # of the file that is written; 0: not looked for yet

    def append(self, kind: str, **data: Any) -> None:
        """As `Spool.append`; for one writer."""
        if not self._number:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            taken, _ = self._place()
            self._number = max([1, taken, *self._numbers()])
        path = self._path(self._number)
        Spool(path, mode=0o600).append(kind, **data)
        if path.stat().st_size >= self._size:
            self._number += 1
            for number in self._numbers():
                if number <= self._number - self._files:
                    self._path(number).unlink(missing_ok=True)

    def read(self) -> tuple[list[dict[str, Any]], tuple[int, int]]:
        """Events of one file that nobody has taken, and the place behind them: see `taken`."""
        number, offset = self._place()
        numbers = [each for each in self._numbers() if each >= number]
        for each in numbers:
            events, end = Spool(self._path(each)).read(offset if each == number else 0)
            if events or each == numbers[-1]:
                return events, (each, end)
        return [], (number, offset)

    def taken(self, place: tuple[int, int]) -> None:
        """What stands before `place` is needed no more."""
        number, offset = place
        content = json.dumps({"file": number, "offset": offset})
        write_atomic(self.folder / "taken.json", content, mode=0o600)
        for each in self._numbers():
            if each < number:
                self._path(each).unlink(missing_ok=True)

    def _place(self) -> tuple[int, int]:
        try:
            found: dict[str, Any] = read_json(self.folder / "taken.json") or {}
        except ValueError:
            found = {}  # half a note is none: events are taken in again, which changes nothing
        return int(found.get("file", 1)), int(found.get("offset", 0))

    def _numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self.folder.glob("[0-9]*.jsonl"))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.jsonl"


def _event(line: bytes) -> dict[str, Any] | None:
    """The event of a line, or None where a kill or a full disk left only a part of one."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return cast(dict[str, Any], found) if isinstance(found, dict) and "kind" in found else None
