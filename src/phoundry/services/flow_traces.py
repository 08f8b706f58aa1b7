"""Traces of deployed flows, from their replicas' folders into `traces.db`.

A replica writes them into a `BoundedSpool`; here they are taken in, a file at a time. A trace has
its id from the replica, so what is taken in twice, because a kill came in between, is there once.
"""

from __future__ import annotations

import logging
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import select

from phoundry.errors import PhoundryError
from phoundry.files import read_json
from phoundry.services.context import Context
from phoundry.settings import Home, Settings
from phoundry.spool import BoundedSpool
from phoundry.store.tables import ReplicaRow
from phoundry.traces.record import Recorder
from phoundry.traces.served import served
from phoundry.traces.store import TraceStore
from phoundry.traces.trace import Trace

log = logging.getLogger("phoundry.traces")

FOLDER = "traces"  # of a replica's run folder: `serving.flow.replica.TRACES`
MOST_FILES = 8  # that are taken in at once


def tick(context: Context) -> None:
    """Take in what the replicas of flows have told since the last look."""
    query = select(ReplicaRow.run_dir).filter_by(workspace=context.workspace)
    with context.database.begin() as session:
        folders = [Path(folder) for folder in session.scalars(query)]
    for folder in folders:
        take_in(context.home, folder)


def take_in(home: Home, run_dir: Path) -> int:
    """Keep the traces that lie in a replica's folder; how many. What can't be kept waits there,
    and the log says why. Where PHOUNDRY_TRACING is off, they are dropped."""
    folder = run_dir / FOLDER
    if not folder.is_dir():
        return 0
    if not Settings().tracing:
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    told: dict[str, Any] = read_json(run_dir / "spec.json") or {}
    spool, count = BoundedSpool(folder), 0
    try:
        for _ in range(MOST_FILES):
            events, place = spool.read()
            if not events:
                break
            traces = _traces(events, told.get("origin") or {})
            TraceStore(home.traces).add(traces)
            spool.taken(place)
            sender().pass_on(traces)
            count += len(traces)
    except (PhoundryError, OSError) as error:
        log.warning("traces of %s wait: %s", told.get("name", run_dir.name), error)
    return count


@cache
def sender() -> Recorder:
    """Sends what is kept here to the collector of the environment, aside."""
    return Recorder(None)


def _traces(events: list[dict[str, Any]], origin: dict[str, Any]) -> list[Trace]:
    """`origin` is that of the worker's spec: the replica's own folder is no name of a flow."""
    known = {name: origin.get(name) for name in ("title", "endpoint", "deployment")}
    flow = str(origin.get("flow") or "")
    found = (served(event, flow, **known) for event in events if event["kind"] == "trace")
    return [trace for trace in found if trace is not None]
