"""What the flow's code prints, told apart by line."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from phoundry.flows.session.redact import tail

KEPT = 10_000  # characters of one line's prints
HELD = 200_000  # characters that a line has printed and that are in memory, about
LOG = 1_000_000  # bytes of the session's log before it begins anew


class Pieces:
    """The end of what was printed, in pieces; `secrets` are hidden in its text."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._secrets = secrets
        self._pieces: list[str] = []
        self._size = 0
        self._cut = False
        self._lock = threading.Lock()  # a line's nodes print from their threads

    def append(self, text: str) -> None:
        with self._lock:
            self._pieces.append(text)
            self._size += len(text)
            if self._size > 2 * HELD:
                held = "".join(self._pieces)[-HELD:]
                self._pieces, self._size, self._cut = [held], len(held), True

    def text(self) -> str:
        """`KEPT` characters of it at most."""
        if not self._pieces:
            return ""
        with self._lock:
            text = "".join(self._pieces)
        # One more than is shown tells that there is more.
        shown = tail(text, self._secrets, KEPT + 1, cut=self._cut)
        whole = len(shown) <= KEPT and not self._cut
        return shown if whole else f"…{shown[-KEPT:]}"


_current: ContextVar[Pieces | None] = ContextVar("printed", default=None)


class Printed(io.TextIOBase):
    """A standard stream that also keeps what it gets with the line that runs."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._written = 0

    def write(self, text: str) -> int:
        self._stream.write(text)
        kept = _current.get()
        if kept is not None:
            kept.append(text)
        self._written += len(text)
        if self._written > LOG:
            self._written = 0
            self._stream.flush()
            shorten_log()
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
def printed(secrets: Sequence[str] = ()) -> Generator[Pieces]:
    """What the code of the block prints; threads that copy the context belong to it. `secrets` are
    hidden here, before anything is cut, so that no part of one is left."""
    kept = Pieces(secrets)
    token = _current.set(kept)
    try:
        yield kept
    finally:
        _current.reset(token)


def shorten_log() -> None:
    """Begin the log (descriptor 2) anew when it has grown large: a session may print for weeks."""
    try:
        if os.fstat(2).st_size > LOG:
            os.lseek(2, 0, os.SEEK_SET)
            os.ftruncate(2, 0)
    except OSError:
        pass  # a tool has closed it, or put something else there
