"""From the store to the gateway: the routing table, and waiting until it is in force."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.files import read_json
from phoundry.services.context import Context
from phoundry.serving.gateway.routes import (
    DeploymentRoute,
    EndpointRoute,
    ReplicaRoute,
    RoutingTable,
    write_routes,
)
from phoundry.store.tables import DeploymentRow, EndpointRow

_WAIT_SECONDS = 3.0
_publishing = threading.Lock()


def publish(context: Context, *, wait: bool = True) -> None:
    """Write the table if it changed, and wait until a running gateway has taken it in."""
    with _publishing:
        with context.database.begin() as session:
            endpoints = _endpoints(session, context)
        present: dict[str, Any] = read_json(context.home.routes) or {}
        generation = int(present.get("generation", 0))
        table = RoutingTable(generation + 1, endpoints)
        if not present or present.get("endpoints") != asdict(table)["endpoints"]:
            generation += 1
            write_routes(context.home.routes, table)
    if wait:  # also for a table that another thread has just written
        _wait(context.home.routes.parent, generation)


def _endpoints(session: Session, context: Context) -> dict[str, EndpointRoute]:
    query = select(EndpointRow).filter_by(workspace=context.workspace)
    rows = session.scalars(query.where(EndpointRow.state != "Deleting"))
    return {row.name: _endpoint(session, context, row) for row in rows}


def _endpoint(session: Session, context: Context, row: EndpointRow) -> EndpointRoute:
    query = select(DeploymentRow).filter_by(workspace=context.workspace, endpoint=row.name)
    deployments = session.scalars(query.where(DeploymentRow.state != "Deleting"))
    routes = {item.name: _deployment(context, item) for item in deployments}
    keys: dict[str, str] = context.vault.decrypt(row.keys)
    return EndpointRoute(
        key_hashes=sorted(hashlib.sha256(key.encode()).hexdigest() for key in keys.values()),
        # A table that names what is not there is refused as a whole, for all endpoints.
        traffic={name: share for name, share in row.traffic.items() if name in routes},
        deployments=routes,
    )


def _deployment(context: Context, row: DeploymentRow) -> DeploymentRoute:
    settings = row.spec["request_settings"]
    replicas: list[ReplicaRoute] = []
    if row.replica == "ready":
        worker = workers.inspect(Path(row.run_dir))
        if worker.running and worker.ready:
            url = f"http://127.0.0.1:{worker.ready['port']}"
            replicas.append(ReplicaRoute(url, context.vault.decrypt(row.token)))
    return DeploymentRoute(
        replicas=replicas,
        timeout_ms=settings["request_timeout_ms"],
        max_concurrent=settings["max_concurrent_requests_per_instance"],
    )


def _wait(run_dir: Path, generation: int) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        loaded: dict[str, Any] = read_json(run_dir / "loaded.json") or {}
        if loaded.get("generation", 0) >= generation or not workers.inspect(run_dir).running:
            return
        time.sleep(0.02)
