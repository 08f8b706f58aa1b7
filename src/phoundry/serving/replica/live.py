"""What stands in a replica's spec.json and may change while it serves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from phoundry.files import read_json

T = TypeVar("T")

log = logging.getLogger("phoundry.replica")


class Live(Generic[T]):
    """What `read` makes of the spec at `path`, as it stands when it is asked for.

    The file is looked at (one `stat`) at most every `pause` seconds, and read where it changed. One
    that cannot be read, or of which `read` makes nothing (ValueError), leaves what was before;
    `first` is what was before the first.
    """

    def __init__(
        self, path: Path, read: Callable[[dict[str, Any]], T], first: T, pause: float = 0.0
    ) -> None:
        self._path, self._read, self._pause = path, read, pause
        self._seen: tuple[int, int] | None = None
        self._next = 0.0
        self._current = first

    def __call__(self) -> T:
        if self._pause:
            now = time.monotonic()
            if now < self._next:
                return self._current
            self._next = now + self._pause
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_ino)
            if seen != self._seen:
                self._current = self._read(read_json(self._path) or {})
                self._seen = seen
        except (OSError, ValueError) as error:  # pydantic's and JSON's faults are ValueErrors
            log.warning("what was set before stays: %s", error)
            self._seen = None
        return self._current
