"""The load report: how busy each deployment is, and which sleeping one somebody waits for.

load.json, beside ready.json, replaced whole at most every 250 ms, and only when something changed:

    {"time": 1790000000.1, "pid": 4711,
     "deployments": {"faq/blue": {"running": 3, "waiting": 2, "last_request": 1790000000.0}},
     "wanted": ["faq/green"]}

A deployment is in it from its first request on. `wanted` is written at once: somebody waits.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any, Protocol

from phoundry.serving.gateway.faults import Faults

REPORT_SECONDS = 0.25


class Busy(Protocol):
    """What is reported of a deployment."""

    @property
    def full_name(self) -> str: ...
    @property
    def running(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def asleep(self) -> bool: ...
    @property
    def removed(self) -> bool: ...


class Load:
    """What has happened since the last report. Used by one event loop; not safe across threads."""

    def __init__(self) -> None:
        self._last: dict[Busy, float] = {}  # epoch of the last sign of life
        self._changed = False
        self._wanted: set[Busy] = set()
        self._urgent = asyncio.Event()

    def touch(self, deployment: Busy) -> None:
        """A request came or ended. One that ends after its deployment was removed says nothing."""
        if deployment.removed:
            return
        self._last[deployment] = time.time()
        self._changed = True

    def want(self, deployment: Busy) -> None:
        """A request waits for this sleeping deployment."""
        if deployment not in self._wanted:
            self._wanted.add(deployment)
            self._changed = True
            self._urgent.set()

    def forget(self, deployment: Busy) -> None:
        """It is in no table any more."""
        self._last.pop(deployment, None)
        self._wanted.discard(deployment)
        self._changed = True

    def report(self) -> dict[str, Any] | None:
        """The next report, or None where nothing has changed since the last."""
        self._wanted = {item for item in self._wanted if item.asleep and item.running}
        if not self._changed and not self._wanted:
            return None
        self._changed = False
        return {
            "time": time.time(),
            "pid": os.getpid(),
            "deployments": {
                item.full_name: {
                    "running": item.running,
                    "waiting": item.waiting,
                    "last_request": round(last, 3),
                }
                for item, last in self._last.items()
            },
            "wanted": sorted(item.full_name for item in self._wanted),
        }

    def again(self) -> None:
        """The last report got lost."""
        self._changed = True

    async def pause(self) -> None:
        """Until the next report is due."""
        try:
            async with asyncio.timeout(REPORT_SECONDS):
                await self._urgent.wait()
        except TimeoutError:
            pass
        self._urgent.clear()


async def keep_reporting(load: Load, path: Path) -> None:
    """Write the reports, until cancelled."""
    faults = Faults()
    while True:
        report = load.report()
        if report is not None:
            written = False
            with faults.reported("The load report"):
                replace(path, report)
                written = True
            if not written:
                load.again()
        await load.pause()


def replace(path: Path, report: dict[str, Any]) -> None:
    """As one change, but without fsync: it is about this process, which a power cut ends too.

    fsync would take milliseconds, four times a second, from a disk that others wait for.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(json.dumps(report))
    temporary.replace(path)
