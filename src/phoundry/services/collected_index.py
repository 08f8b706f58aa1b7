"""Where the records of a collected file begin, and of which moment each is.

A file may have gigabytes, and who reads it asks for page after page. So it is read once, from end
to end, and from then on only what has been added; a page seeks to its own lines. Sixteen bytes a
record are kept, of so many records at most; what was asked for longest ago is forgotten first.
"""

from __future__ import annotations

import json
import os
import re
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

RECORDS = 2_000_000  # remembered, of all files together

# A record's own time stands before its data (`replica/collecting.py`).
_TIME = re.compile(rb'"time":"([^"]{1,40})"')


class FileIndex:
    """The records of one file, in the order of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._forget()

    def __len__(self) -> int:
        return len(self._moments)

    def extend(self) -> None:
        """Take in what was added. A file that was replaced, or cut, is read anew."""
        with self._lock, self.path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_ino != self._inode or found.st_size < self._read:
                self._forget()
                self._inode = found.st_ino
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # it is being written
                self._add(line)
                self._read += len(line)

    def between(self, first: int, last: int) -> Sequence[int]:
        """Moments from `first` to `last`, both included."""
        moments, numbers, _ = self._found(first, last)
        return [moments[number] for number in numbers]

    def lines(self, first: int, last: int) -> Iterator[bytes]:
        """The records of these moments."""
        _, numbers, offsets = self._found(first, last)
        with self.path.open("rb") as file:
            for number in numbers:
                file.seek(offsets[number])
                yield file.readline()

    def _found(self, first: int, last: int) -> tuple[array[int], Sequence[int], array[int]]:
        with self._lock:
            moments, offsets = self._moments, self._offsets
            if self._ordered:
                numbers = range(bisect_left(moments, first), bisect_right(moments, last))
            else:
                each = enumerate(moments)
                numbers = [number for number, moment in each if first <= moment <= last]
        return moments, numbers, offsets

    def _add(self, line: bytes) -> None:
        moment = moment_of(line)
        if moment is not None:
            self._ordered = self._ordered and (not self._moments or self._moments[-1] <= moment)
            self._moments.append(moment)
            self._offsets.append(self._read)

    def _forget(self) -> None:
        self._moments: array[int] = array("q")
        self._offsets: array[int] = array("q")
        self._ordered = True  # nearly always: one replica wrote it as it answered
        self._inode = self._read = 0  # bytes that have been read


class Indexes:
    """Those of the files that were last asked for."""

    def __init__(self, records: int = RECORDS) -> None:
        self._most = records
        self._lock = threading.Lock()
        self._known: OrderedDict[Path, FileIndex] = OrderedDict()

    @property
    def files(self) -> list[Path]:
        """Those that are remembered, the last one asked for at the end."""
        with self._lock:
            return list(self._known)

    def of(self, path: Path) -> FileIndex:
        """The index of the file as it is now."""
        with self._lock:
            index = self._known.setdefault(path, FileIndex(path))
            self._known.move_to_end(path)
        index.extend()
        with self._lock:
            while len(self._known) > 1 and sum(map(len, self._known.values())) > self._most:
                self._known.popitem(last=False)
        return index


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def moment_of(line: bytes) -> int | None:
    """When the record was made, in milliseconds; None where that cannot be told."""
    head, mark, _ = line.partition(b'"data":')
    match = _TIME.search(head) if mark else None
    try:
        text = match[1].decode() if match else json.loads(line)["time"]
        return milliseconds(datetime.fromisoformat(text).timestamp())
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
