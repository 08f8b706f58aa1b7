"""Take a changed routing table into force within a moment, and say so."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from pathlib import Path

from phoundry.errors import InvalidInput
from phoundry.serving.gateway.access import AccessLog
from phoundry.serving.gateway.faults import Faults
from phoundry.serving.gateway.load import replace
from phoundry.serving.gateway.routes import load_routes
from phoundry.serving.gateway.routing import Router
from phoundry.serving.gateway.upstream import IDLE_SECONDS
from phoundry.spool import Spool

POLL_SECONDS = 0.05
FLUSH_SECONDS = 0.5

Stamp = tuple[int, int, int] | None  # None: there is no file


class Reloader:
    """Watches the file by inode, size and time of change: the control plane replaces it whole.

    A table that cannot be read leaves the old one in force, is reported once, and does not change
    loaded.json, by which the control plane sees what is in force. What the disk refuses is tried
    again with the next round: a disk that is full for a moment must not deafen the gateway.
    """

    def __init__(self, path: Path, router: Router, spool: Spool, loaded: Path) -> None:
        self._path = path
        self._router = router
        self._spool = spool
        self._loaded = loaded
        self._stamp: Stamp | str = "not looked at"
        self._told = -1  # the generation in loaded.json
        self._faults = Faults()

    def check(self) -> bool:
        """Load the table if the file has changed; whether a new one is in force."""
        new = False
        with self._faults.reported("The routing table"):
            new = self._take()
        if self._told != self._router.generation:
            with self._faults.reported("loaded.json"):
                replace(self._loaded, {"generation": self._router.generation})
                self._told = self._router.generation
        return new

    def _take(self) -> bool:
        stamp = self._look()  # before reading: a change while we read is seen next time
        if stamp == self._stamp:
            return False
        try:
            table = load_routes(self._path)
        except InvalidInput as error:
            self._stamp = stamp
            sys.stderr.write(f"{error}\nThe old routing table stays in force.\n")
            self._spool.append("routes_refused", message=str(error))
            return False
        self._router.update(table)
        self._stamp = stamp
        return True

    def _look(self) -> Stamp:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns


async def keep(reloader: Reloader, router: Router, log: AccessLog) -> None:
    """Poll the table, write the access log and close idle connections, until cancelled."""
    rounds = round(FLUSH_SECONDS / POLL_SECONDS)
    faults = Faults()
    while True:
        for _ in range(rounds):
            await asyncio.sleep(POLL_SECONDS)
            if reloader.check():
                gc.freeze()  # the collector would look through the whole table again and again
        router.close_idle(time.monotonic() - IDLE_SECONDS)
        with faults.reported("The access log"):
            await asyncio.to_thread(log.flush)
