"""The reconciler's pause between two ticks: it ends when somebody waits for the next one."""

from __future__ import annotations

import threading
import time

from phoundry.services.context import Context
from phoundry.services.reconcile import load
from phoundry.services.reconcile.scaling import Scaler

LOOK_SECONDS = 0.05  # between two looks for a request that waits for a replica


class Rest:
    """Ends early for a change over the API (`wake`), a request to a deployment that sleeps, or a
    replica that has just become ready and that requests wait for."""

    def __init__(self, context: Context, wake: threading.Event, scaler: Scaler) -> None:
        self._context = context
        self._wake = wake
        self._scaler = scaler
        self._report = load.Watch(load.path(context))

    def __call__(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            looks = self._scaler.asleep or self._scaler.awaited
            if self._wake.wait(min(left, LOOK_SECONDS) if looks else left) or self._called():
                return

    def _called(self) -> bool:
        if any(file.exists() for file in self._scaler.awaited):
            return True
        if not self._scaler.asleep or not self._report.changed():
            return False
        return self._scaler.called(self._context)
