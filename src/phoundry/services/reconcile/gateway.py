"""The gateway: one process, started again when it ends."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from phoundry.compute import workers
from phoundry.errors import Unavailable
from phoundry.services.context import Context

RETRY_SECONDS = 2.0  # between two starts
_START_SECONDS = 20.0
_END_SECONDS = 5.0


def run_dir(context: Context) -> Path:
    return context.home.routes.parent


def tick(context: Context, host: str, port: int) -> None:
    """Start the gateway unless it runs. A running one of another address is replaced."""
    folder = run_dir(context)
    state = workers.inspect(folder)
    if state.running and (state.ready or {}).get("port", port) == port:
        return
    if state.running:
        _end(folder)
    elif 0 <= time.time() - _started_at(folder) < RETRY_SECONDS:
        return  # it ends as soon as it starts; its log says why. (Below 0 the clock was set back.)
    spec: dict[str, Any] = {"host": host, "port": port, "routes_path": str(context.home.routes)}
    workers.start(folder, "phoundry.serving.gateway", spec)


def _end(folder: Path) -> None:
    """Kill the gateway, and return when its port is free again."""
    workers.kill(folder)
    deadline = time.monotonic() + _END_SECONDS
    while workers.inspect(folder).running and time.monotonic() < deadline:
        time.sleep(0.01)


def _started_at(folder: Path) -> float:
    """When a gateway was last started here, in seconds since the epoch; 0 for never."""
    try:
        return (folder / "spec.json").stat().st_mtime
    except FileNotFoundError:
        return 0.0


def wait(context: Context) -> None:
    """Return when the gateway answers. Raises Unavailable where it does not come up."""
    folder = run_dir(context)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        state = workers.inspect(folder)
        if state.running and state.ready:
            return
        if not state.running:
            error = (state.result or {}).get("error", {})
            raise Unavailable(
                f"The gateway did not start: {error.get('message', 'it was killed')}",
                remedy=f"Its log is {folder / 'log.txt'}.",
            )
        time.sleep(0.05)
    raise Unavailable("The gateway did not answer in time.", remedy=f"See {folder / 'log.txt'}.")


def stop(context: Context) -> None:
    workers.terminate(run_dir(context))
