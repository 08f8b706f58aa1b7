"""What the disk refuses to the gateway's housekeeping: said once, and tried again."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress


class Faults:
    """Of tasks that must go on: each part of a round fails by itself, and is said once."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    @contextmanager
    def reported(self, part: str) -> Generator[None]:
        """Run the block; an OSError ends it and nothing else."""
        try:
            yield
        except OSError as error:
            message = f"{part} has to wait: {error}. It is tried again.\n"
            if self._said.get(part) != message:
                self._said[part] = message
                with suppress(OSError):  # our own log may be on the same full disk
                    sys.stderr.write(message)
                    sys.stderr.flush()
        else:
            self._said.pop(part, None)
