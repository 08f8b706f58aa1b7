"""The reconciler's pause between two ticks: it ends when there is something to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path

from phoundry.files import lock_held
from phoundry.services.context import Context
from phoundry.services.reconcile import load
from phoundry.services.reconcile.scaling import Scaler

CALLED_SECONDS = 0.05  # between two looks, while a request may come for what sleeps
LOOK_SECONDS = 0.1  # else
SOON_SECONDS = 0.2  # after a tick that has changed something: the next one goes on from there

_Stamp = tuple[bool, int, int]


class Rest:
    """Ends early for

    - a change over the API (`wake`),
    - a change that the tick itself has made: what waits for it is moved on by the next,
    - a worker that has begun, is ready, has left its result or has died,
    - a request to a deployment that sleeps, or a replica that has just become ready and that
      requests wait for.
    """

    def __init__(self, context: Context, wake: threading.Event, scaler: Scaler) -> None:
        self._context = context
        self._wake = wake
        self._scaler = scaler
        self._report = load.Watch(load.path(context))
        self._workers = Workers()
        self._changes = context.database.changes

    def begin(self) -> None:
        """A tick begins: what has changed until now, it sees."""
        self._workers.look()
        self._changes = self._context.database.changes

    def __call__(self, seconds: float, folders: Iterable[Path] = ()) -> None:
        """Return after `seconds`, or early. `folders`: of the workers to be watched."""
        self._workers.follow(folders)
        if self._context.database.changes != self._changes:
            seconds = min(seconds, SOON_SECONDS)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            look = CALLED_SECONDS if self._scaler.asleep or self._scaler.awaited else LOOK_SECONDS
            if self._wake.wait(min(left, look)) or self._called() or self._workers.look():
                return

    def _called(self) -> bool:
        if any(file.exists() for file in self._scaler.awaited):
            return True
        if not self._scaler.asleep or not self._report.changed():
            return False
        return self._scaler.called(self._context)


class Workers:
    """Notices when the worker of a run folder begins, is ready, leaves its result or dies."""

    def __init__(self) -> None:
        self._stamps: dict[Path, _Stamp] = {}

    def follow(self, folders: Iterable[Path]) -> None:
        """Watch these folders from now on; those that are watched already, since the last look."""
        self._stamps = {
            folder: self._stamps[folder] if folder in self._stamps else _stamp(folder)
            for folder in folders
        }

    def look(self) -> bool:
        """Whether anything has changed since the last look."""
        found = {folder: _stamp(folder) for folder in self._stamps}
        changed = found != self._stamps
        self._stamps = found
        return changed


def _stamp(folder: Path) -> _Stamp:
    return lock_held(folder / "lock"), _time(folder / "ready.json"), _time(folder / "result.json")


def _time(file: Path) -> int:
    """When a file was last written, in nanoseconds; 0 where there is none."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
