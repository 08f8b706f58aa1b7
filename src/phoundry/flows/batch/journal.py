"""`lines.jsonl`: what each line gave, appended as the lines end, and where in the file it stands.

A record is `{"line_number", "status", "output", "nodes", "error", "seconds", …}`. A line that is
run again has a second record, and the last one counts. A kill leaves at most a part of the last
record, which is cut off when the file is opened again.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from phoundry.flows.batch.mapping import LINE_NUMBER
from phoundry.flows.batch.text import line_of, value_of

TODO, COMPLETED, FAILED = 0, 1, 2
_TAIL = 1 << 16  # bytes read at once while the last line's end is looked for


class Index:
    """The lines of a run: their numbers, ascending; how each ended; where its record stands.

    17 bytes a line, whatever the lines hold.
    """

    def __init__(self) -> None:
        self.numbers = array("q")
        self.states = bytearray()
        self.offsets = array("q")
        self.completed = self.failed = 0
        self.aggregated = False  # whether a line left something for the aggregation
        self._first = 0
        self._dense = True  # no number is left out, which is the usual

    def __len__(self) -> int:
        return len(self.numbers)

    def add(self, number: int) -> None:
        """The next line. Numbers ascend."""
        if not self.numbers:
            self._first = number
        elif number != self.numbers[-1] + 1:
            self._dense = False
        self.numbers.append(number)
        self.states.append(TODO)
        self.offsets.append(-1)

    def place(self, number: int) -> int | None:
        """The place of line `number` among the lines, or None where there is no such line."""
        place = number - self._first if self._dense else bisect_left(self.numbers, number)
        if 0 <= place < len(self.numbers) and self.numbers[place] == number:
            return place
        return None

    @property
    def left(self) -> int:
        """How many lines have not ended."""
        return len(self.numbers) - self.completed - self.failed

    def reopen_failed(self) -> None:
        """Lines that failed are to do again; until they end, their records still stand."""
        self.states = self.states.replace(bytes([FAILED]), bytes([TODO]))
        self.failed = 0

    def mark(self, number: int, completed: bool, offset: int) -> None:
        """Line `number` has ended; its record begins at byte `offset`."""
        place = self.place(number)
        if place is None:
            return
        before, after = self.states[place], COMPLETED if completed else FAILED
        self.completed += (after == COMPLETED) - (before == COMPLETED)
        self.failed += (after == FAILED) - (before == FAILED)
        self.states[place], self.offsets[place] = after, offset


class Journal:
    """The file while a run works: `add` gathers records, `flush` makes them last."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end = whole_bytes(self._handle)
        os.ftruncate(self._handle, self._end)
        self._pending: list[bytes] = []

    def add(self, record: Mapping[str, Any]) -> int:
        """Gather a record; the byte at which it begins."""
        line = line_of(record)
        offset = self._end
        self._pending.append(line)
        self._end += len(line)
        return offset

    def flush(self) -> None:
        """Write what was gathered, to the disk itself: from here on it survives a power cut."""
        if self._pending:
            content = b"".join(self._pending)
            offset = self._end - len(content)
            while content:
                written = os.pwrite(self._handle, content, offset)
                content, offset = content[written:], offset + written
            self._pending.clear()
            os.fsync(self._handle)

    def close(self) -> None:
        os.close(self._handle)


def whole_bytes(handle: int) -> int:
    """The length of the open file up to its last line end: what is behind it was cut off."""
    end = os.fstat(handle).st_size
    while end > 0:
        start = max(0, end - _TAIL)
        found = os.pread(handle, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """`(offset, record)` of every whole record, in the order in which lines ended."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        offset = 0
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield offset, value_of(line)
            offset += len(line)


def load_index(inputs: Path, journal: Path, *, shown: bool = False) -> Index:
    """The index of a run that was begun: its lines, and how far they are. `shown`: for who looks at
    it; else for who goes on with it."""
    index = Index()
    with inputs.open("rb") as file:
        for line in file:
            index.add(value_of(line)[LINE_NUMBER])
    for offset, record in records(journal):
        # A line that left a value in a process which is gone must run again.
        if shown or not record.get("kept"):
            index.mark(record[LINE_NUMBER], record["status"] == "Completed", offset)
            index.aggregated |= "aggregation_inputs" in record
    return index


def ended_lines(index: Index, journal: Path) -> Iterator[dict[str, Any]]:
    """The last record of every line that has ended, by line number; one at a time in memory."""
    if not index.completed and not index.failed:
        return
    with journal.open("rb") as file:
        for offset in index.offsets:
            if offset >= 0:
                if file.tell() != offset:  # lines mostly end in their order
                    file.seek(offset)
                yield value_of(file.readline())
