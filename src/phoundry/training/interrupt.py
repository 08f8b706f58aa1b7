"""Being told to stop: at once where that loses nothing, and never in the middle of a write."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from phoundry.errors import Cancelled
from phoundry.worker import StopReason


class StopSwitch:
    """Pressed by SIGTERM or SIGINT, or by `press`.

    Inside `abandoning` it raises `Cancelled` at once: a forward pass of a large model takes longer
    than anyone waits. Elsewhere it is only remembered, until `check` or the next `abandoning`. It
    raises once and pressing it again changes nothing, so that what is written down afterwards is
    never cut short by us.

    Args:
        reason: asked when the training stops, not before: whoever sends the signal says why first.
    """

    def __init__(self, reason: Callable[[], StopReason] = lambda: "pause") -> None:
        self.reason = reason
        self._by: str | None = None
        self._open = False

    def listen(self) -> None:
        """Take SIGTERM and SIGINT of this process; for its main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def press(self, by: str = "its caller") -> None:
        """Ask for a stop; `by` is who asks, for the message."""
        first, self._by = self._by is None, self._by or by
        if first and self._open:
            self._open = False
            self.check()

    def check(self) -> None:
        """Raise Cancelled if the switch was pressed."""
        if self._by is not None:
            raise Cancelled(f"Stopped by {self._by}.")

    @contextmanager
    def abandoning(self) -> Generator[None]:
        """A block that may be left at any point."""
        self._open = True
        try:
            self.check()
            yield
        finally:
            self._open = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.press(signal.Signals(number).name)
