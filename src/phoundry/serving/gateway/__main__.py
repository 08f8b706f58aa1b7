"""The gateway worker: `python -m phoundry.serving.gateway RUN_DIR`.

spec.json: `host` (loopback), `port` (0: any free one), `routes_path`.

It writes ready.json `{port, pid}` when it accepts requests with the table in force, and then, after
every table that it takes into force, loaded.json `{generation}`. load.json says how busy it is
(`load.py`). It serves until SIGTERM.
Events: `ready {port}`, `routes_refused {message}`, `stopping`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from phoundry.files import write_json
from phoundry.serving.gateway.access import AccessLog
from phoundry.serving.gateway.app import GatewayApp
from phoundry.serving.gateway.load import keep_reporting
from phoundry.serving.gateway.metrics_page import MetricsPage, token_of
from phoundry.serving.gateway.reload import Reloader, keep
from phoundry.serving.gateway.routing import Router
from phoundry.serving.hosts import HostCheck
from phoundry.serving.listen import bind, port_of, run, serve
from phoundry.spool import Spool
from phoundry.worker import main

GRACE_SECONDS = 30
# The thread that writes the access log gives way to requests after this long (Python's own: 5 ms).
SWITCH_SECONDS = 0.0005


def gateway(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """Load the table, serve, follow its changes."""
    router = Router()
    reloader = Reloader(Path(spec["routes_path"]), router, spool, run_dir / "loaded.json")
    log = AccessLog(run_dir / "access.jsonl")
    host = str(spec["host"])
    listener = bind(host, int(spec["port"]))

    async def started() -> None:
        gc.collect()
        gc.freeze()  # what there is now stays: 24 ms of each full collection at 1,000 endpoints
        port = port_of(listener)
        spool.append("ready", port=port)
        write_json(run_dir / "ready.json", {"port": port, "pid": os.getpid()})

    async def serving() -> None:
        reloader.check()
        page = MetricsPage(router, token_of(run_dir))
        app = GatewayApp(router, HostCheck(host), log, page)
        following = asyncio.gather(
            keep(reloader, router, log), keep_reporting(router.load, run_dir / "load.json")
        )
        following.add_done_callback(_end)
        try:
            await serve(
                app,
                listener,
                started=started,
                stopping=lambda: spool.append("stopping"),
                grace_seconds=GRACE_SECONDS,
            )
        finally:
            following.cancel()
            try:
                with suppress(asyncio.CancelledError):
                    await following
            finally:
                await app.close()
                log.flush()

    sys.setswitchinterval(SWITCH_SECONDS)
    run(serving())
    return {}


def _end(following: asyncio.Future[Any]) -> None:
    """Who follows no table any more would serve revoked keys: end, and be started anew."""
    if not following.cancelled():
        signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    main(gateway)
