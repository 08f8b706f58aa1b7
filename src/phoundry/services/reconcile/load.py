"""What the gateway says of the requests at hand: load.json in its run folder.

    {"time": 1790000000.2, "pid": 4711,
     "deployments": {"faq/blue": {"running": 3, "waiting": 2, "last_request": 1790000000.1}},
     "wanted": ["faq/green"]}

The gateway replaces it soon after something has changed. `wanted` are deployments that sleep and
that somebody asks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phoundry.compute import workers
from phoundry.files import read_json
from phoundry.services.context import Context

FILE = "load.json"
CALL_SECONDS = 10.0  # that a call is old at most

Stamp = tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of one deployment. `last_request`: when one came last, in seconds since the epoch;
    0 for never."""

    running: int = 0
    waiting: int = 0
    last_request: float = 0.0

    @property
    def in_flight(self) -> int:
        return self.running + self.waiting


NONE = Load()


@dataclass(frozen=True, slots=True)
class Report:
    """The load of every deployment, by ENDPOINT/NAME, and those that are to wake."""

    deployments: dict[str, Load] = field(default_factory=dict[str, Load])
    wanted: frozenset[str] = frozenset()

    def of(self, deployment: str) -> Load:
        """Its load. One that is to wake has a request that waits, whatever else is said."""
        found = self.deployments.get(deployment, NONE)
        if deployment in self.wanted and not found.in_flight:
            return Load(0, 1, found.last_request)
        return found


def path(context: Context) -> Path:
    return context.home.routes.parent / FILE


def read(context: Context, *, now: float | None = None) -> Report:
    """What the gateway says. Counts hold while the gateway that wrote them lives, for it tells
    every change; calls are repeated while somebody waits. When requests came last stays true.
    """
    told: dict[str, Any] = read_json(path(context)) or {}
    written = float(told.get("time", 0.0))
    holds = _lives(context.home.routes.parent, told.get("pid"), written)
    fresh = holds and (time.time() if now is None else now) - written <= CALL_SECONDS
    loads = {name: _load(values, holds) for name, values in told.get("deployments", {}).items()}
    return Report(loads, frozenset(told.get("wanted", ())) if fresh else frozenset())


def _lives(run_dir: Path, pid: int | None, written: float) -> bool:
    """Whether the gateway that wrote something still runs. One of an older release told no pid:
    its start is compared with the time, which misleads where the clock was set back."""
    worker = workers.inspect(run_dir)
    if pid is not None:
        return worker.running and worker.pid == pid
    process: dict[str, Any] = read_json(run_dir / "process.json") or {}
    return written >= float(process.get("create_time", 0.0)) and worker.running


def _load(values: dict[str, Any], holds: bool) -> Load:
    last = float(values.get("last_request", 0.0))
    return Load(int(values["running"]), int(values["waiting"]), last) if holds else Load(0, 0, last)


class Watch:
    """Whether load.json was replaced since the last look: one `stat`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = _stamp(file)

    def changed(self) -> bool:
        stamp = _stamp(self._file)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        return True


def _stamp(file: Path) -> Stamp:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
