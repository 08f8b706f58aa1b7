"""The files of the cache: one for each value, the least used go when there are too many."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from phoundry.files import PRIVATE, write_atomic
from phoundry.settings import Home

MOST_BYTES = 256 * 1024 * 1024
LARGEST = MOST_BYTES // 16  # of one value, in bytes
LOOK_EVERY = 256  # writes of this process between two looks at the size
_Entry = tuple[float, int, str]


@dataclass(slots=True)
class Store:
    """Values by key below `folder`; `most` bytes of them, roughly."""

    folder: Path
    most: int = MOST_BYTES
    _written: int = field(default=0, repr=False)

    @classmethod
    def current(cls) -> Store:
        """The one of this home."""
        home = Home.current()
        folder = home.cache / "flows"
        if folder not in _stores:
            home.make()
            _stores[folder] = cls(folder)
        return _stores[folder]

    def get(self, key: str, ttl: float | None) -> tuple[Any] | None:
        """The value in a tuple, or None where there is none younger than `ttl` seconds."""
        file = self._file(key)
        try:
            found: Any = json.loads(file.read_bytes())
        except (OSError, ValueError):
            return None
        entry = cast(dict[str, Any], found) if isinstance(found, dict) else {}
        made = entry.get("made")
        if not isinstance(made, int | float) or "value" not in entry:
            return None
        if ttl is not None and time.time() - made >= ttl:
            return None
        with suppress(OSError):  # another process has tidied it away
            os.utime(file)  # used just now
        return (entry["value"],)

    def put(self, key: str, value: Any) -> None:
        text = json.dumps({"made": time.time(), "value": value})
        if len(text) > LARGEST:
            return
        write_atomic(self._file(key), text, mode=PRIVATE)
        if self._written % LOOK_EVERY == 0:
            self.tidy()
        self._written += 1

    def tidy(self) -> None:
        """Remove the least recently used values when they take more than `most` bytes, down to
        three quarters of it."""
        entries: list[_Entry] = []
        for file in self.folder.glob("*/*.json"):
            try:
                status = file.stat()
            except FileNotFoundError:
                continue
            entries.append((status.st_mtime, status.st_size, str(file)))
        total = sum(size for _, size, _ in entries)
        if total <= self.most:
            return
        for _, size, name in sorted(entries):
            Path(name).unlink(missing_ok=True)
            total -= size
            if total <= self.most * 3 // 4:
                return

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


_stores: dict[Path, Store] = {}
