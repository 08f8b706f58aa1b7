"""What the flow's code prints, told apart by line."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

KEPT = 10_000  # characters of one line's prints
LOG = 1_000_000  # bytes of the session's log before it begins anew

_current: ContextVar[list[str] | None] = ContextVar("printed", default=None)


class Printed(io.TextIOBase):
    """A standard stream that also keeps what it gets with the line that runs."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        kept = _current.get()
        if kept is not None:
            kept.append(text)
        self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def buffer(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._stream.buffer

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._stream.encoding


def listen() -> None:
    """From now on what is printed is told apart; before anything of the user's is imported."""
    sys.stdout = Printed(sys.stdout)
    sys.stderr = Printed(sys.stderr)


@contextmanager
def printed() -> Generator[list[str]]:
    """What the code of the block prints, in pieces; threads that copy the context belong to it."""
    kept: list[str] = []
    token = _current.set(kept)
    try:
        yield kept
    finally:
        _current.reset(token)


def text_of(pieces: list[str]) -> str:
    """The end of what was printed, `KEPT` characters at most."""
    text = "".join(pieces)
    return text if len(text) <= KEPT else f"…{text[-KEPT:]}"


def shorten_log() -> None:
    """Begin the log (descriptor 2) anew when it has grown large: a batch may print for hours."""
    if os.fstat(2).st_size > LOG:
        os.lseek(2, 0, os.SEEK_SET)
        os.ftruncate(2, 0)
