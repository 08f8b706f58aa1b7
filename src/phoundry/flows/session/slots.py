"""Which lines a child runs right now, in memory that it shares with its parent.

A child that died, or that holds Python's lock in a hanging call, answers no question any more; its
slots still say which lines it had begun, and when.
"""

from __future__ import annotations

import mmap
import os
import struct
import time

_START, _NUMBER = struct.Struct("=d"), struct.Struct("=q")
_SIZE = _START.size + _NUMBER.size


class Slots:
    """`count` slots, one for each line that the child runs at a time, over the file `descriptor`.

    A slot is the monotonic time of the line's start, in seconds, then its number plus one; 0 for
    nothing. The monotonic clock is the machine's: both processes read the same.
    """

    def __init__(self, descriptor: int, count: int) -> None:
        self.count = count
        self._memory = mmap.mmap(descriptor, count * _SIZE)

    def begin(self, slot: int, number: int) -> None:
        """Note that the line `number`, from 0, begins now."""
        # The number last: a reader in between takes the line before for one that has just begun.
        _START.pack_into(self._memory, slot * _SIZE, time.monotonic())
        _NUMBER.pack_into(self._memory, slot * _SIZE + _START.size, number + 1)

    def end(self, slot: int) -> None:
        _NUMBER.pack_into(self._memory, slot * _SIZE + _START.size, 0)

    def running(self) -> dict[int, float]:
        """The lines that have begun and not ended, with the monotonic time of their start."""
        found: dict[int, float] = {}
        for slot in range(self.count):
            (number,) = _NUMBER.unpack_from(self._memory, slot * _SIZE + _START.size)
            if number > 0:
                (found[number - 1],) = _START.unpack_from(self._memory, slot * _SIZE)
        return found

    def close(self) -> None:
        self._memory.close()


def slots_file(count: int) -> int:
    """A descriptor of a file without a name, large enough for `count` slots; the caller's."""
    import tempfile  # the parent's alone

    with tempfile.TemporaryFile() as file:
        os.ftruncate(file.fileno(), count * _SIZE)
        return os.dup(file.fileno())
