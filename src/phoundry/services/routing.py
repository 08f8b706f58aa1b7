"""From the store to the gateway: the routing table, and waiting until it is in force."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.errors import Unavailable
from phoundry.files import read_json
from phoundry.services import endpoint_tokens, replicas, revisions
from phoundry.services.context import Context
from phoundry.serving.gateway.auth import hash_key
from phoundry.serving.gateway.routes import (
    ORIGIN,
    DeploymentRoute,
    EndpointRoute,
    ReplicaRoute,
    RoutingTable,
    write_routes,
)
from phoundry.specs.deployment import serves_flow
from phoundry.store.tables import DeploymentRow, EndpointRow

_WAIT_SECONDS = 10.0  # the gateway looks at its table every 50 ms
_publishing = threading.Lock()


def publish(context: Context, *, wait: bool = True) -> None:
    """Write the table if it changed, and wait until a running gateway has taken it in.

    Raises:
        Unavailable: it runs and does not take it in; what was changed is recorded all the same.
    """
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
    deployments = session.scalars(query.where(DeploymentRow.state != "Deleting")).all()
    # What the deploy gate has not let through gets nothing, whatever its share is.
    opened = {item.name for item in deployments if revisions.trusted(item)}
    routes = {item.name: _deployment(session, context, item) for item in deployments}
    rate = row.settings.get("rate_limit")
    return EndpointRoute(
        key_hashes=_key_hashes(context, row),
        tokens=endpoint_tokens.of(session, context, row.name),
        # A table that names what is not there is refused as a whole, for all endpoints.
        traffic={name: share for name, share in row.traffic.items() if name in opened},
        mirror={name: share for name, share in row.mirror.items() if name in routes},
        requests_per_minute=rate["requests_per_minute"] if rate else None,
        # So is one with an origin that an older version let in.
        allowed_origins=[
            origin for origin in row.settings.get("allowed_origins", []) if ORIGIN.fullmatch(origin)
        ],
        deployments=routes,
    )


def _key_hashes(context: Context, row: EndpointRow) -> list[str]:
    """None where tokens open the endpoint: its keys wait, in case it is opened by keys one day."""
    if row.auth_mode != "key":
        return []
    keys: dict[str, str] = context.vault.decrypt(row.keys)
    return sorted(map(hash_key, keys.values()))


def _deployment(session: Session, context: Context, row: DeploymentRow) -> DeploymentRoute:
    settings = row.spec["request_settings"]
    found: list[ReplicaRoute] = []
    for replica in replicas.routed(session, context, row):
        worker = workers.inspect(Path(replica.run_dir))
        if worker.running and worker.ready:
            url = f"http://127.0.0.1:{worker.ready['port']}"
            found.append(ReplicaRoute(url, context.vault.decrypt(replica.token)))
    return DeploymentRoute(
        replicas=found,
        timeout_ms=settings["request_timeout_ms"],
        max_concurrent=settings["max_concurrent_requests_per_instance"],
        asleep=row.wanted == 0,
        once=serves_flow(row.spec),
    )


def left(context: Context, port: int) -> bool:
    """Whether the gateway sends nothing any more to the replica that listens on `port`."""
    folder = context.home.routes.parent
    if not workers.inspect(folder).running:
        return True  # nobody sends anything
    table: dict[str, Any] = read_json(context.home.routes) or {}
    if f"127.0.0.1:{port}" in {*_addresses(table)}:
        return False
    loaded: dict[str, Any] = read_json(folder / "loaded.json") or {}
    return loaded.get("generation", 0) >= table.get("generation", 0)


def end(session: Session, context: Context, row: DeploymentRow) -> None:
    """Ask the processes of a deployment to end to which the gateway sends nothing any more.

    The others are told by the reconciler: what the gateway sent to one that ends would be lost.
    """
    for replica in replicas.of(session, context, row):
        ready = workers.inspect(Path(replica.run_dir)).ready or {}
        if "port" not in ready or left(context, ready["port"]):
            workers.terminate(Path(replica.run_dir))


def _addresses(table: dict[str, Any]) -> Iterator[str]:
    """`127.0.0.1:4567` of every replica of a table."""
    for endpoint in table.get("endpoints", {}).values():
        for deployment in endpoint["deployments"].values():
            for replica in deployment["replicas"]:
                yield replica["url"].removeprefix("http://")


def _wait(run_dir: Path, generation: int) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        loaded: dict[str, Any] = read_json(run_dir / "loaded.json") or {}
        state = workers.inspect(run_dir)
        # One that only starts looks at the table before it answers anything.
        if loaded.get("generation", 0) >= generation or not (state.running and state.ready):
            return
        time.sleep(0.02)
    raise Unavailable(
        "The change is recorded, but the gateway has not taken it into force within "
        f"{_WAIT_SECONDS:g} s: it serves as before.",
        remedy=f"Its log says why: {run_dir / 'log.txt'}.",
    )
