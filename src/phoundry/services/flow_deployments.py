"""Flows behind endpoints: what a deployment keeps of a flow, and what its replica is told.

A deployment keeps a copy of the flow's files (a blob, by content), and which connections it takes.
Their values are read when a replica starts and go through its standard input; when they change, as
an endpoint's key does, the replicas are replaced as for any new revision.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from phoundry.errors import Conflict, NotFound, UsageError
from phoundry.files import read_json
from phoundry.services import connections, endpoints, revisions
from phoundry.services import flows as remembered
from phoundry.services.context import Context, record
from phoundry.services.rows import find, get
from phoundry.settings import Settings
from phoundry.specs.connection import Connection, ConnectionSpec, ConnectionValues
from phoundry.specs.deployment import (
    FLOW,
    DeploymentSpec,
    DeploymentUpdate,
    FlowSnapshot,
    serves_flow,
)
from phoundry.store.tables import ConnectionRow, DeploymentRow, EndpointRow, ReplicaRow

MODULE = "phoundry.serving.flow.replica"
MEMORY = 200_000_000  # bytes that a replica is planned with; what its tools take is not known


def kept(context: Context, spec: DeploymentSpec) -> DeploymentSpec:
    """`spec` with its flow's files kept and its connections chosen; one of a model as it is.

    To be called outside a session.

    Raises:
        NotFound, FlowError: no flow there, or a faulty one.
        NotFound, Conflict, UsageError: a connection is missing or must be chosen.
        UsageError: `init` of a flow that takes none, or with a secret.
    """
    if spec.flow is None:
        return spec.model_copy(update={"snapshot": None})  # it is made here, and not brought
    from phoundry.flows import load_flow
    from phoundry.flows.connections import resolved
    from phoundry.serving.flow.arguments import check_kept
    from phoundry.serving.flow.packing import pack

    flow = load_flow(spec.flow)
    check_kept(flow, spec.init)
    before = remembered.settings(context, str(flow.root.resolve())).connections
    found = resolved(flow, _Stored(context), before, spec.connections, spec.init)
    digest = context.blobs.put(pack(flow))
    snapshot = FlowSnapshot(
        sha256=digest,
        file=flow.file.name,
        chosen=dict(found.chosen),
        overrides=dict(found.overrides),
        names=sorted(found.values),
        init=spec.init,
    )
    model = f"{FLOW}{flow.root.resolve().name}@{digest[:8]}"
    return spec.model_copy(update={"model": model, "snapshot": snapshot, "gate": False})


def kept_of(
    context: Context, endpoint: str, name: str, change: DeploymentUpdate
) -> DeploymentSpec | None:
    """The flow that a change names, kept as `kept` does; None where it names none.

    Raises:
        UsageError: connections or arguments without the flow that takes them.
    """
    if change.flow is None:
        if change.connections is not None or change.init is not None:
            what = "connections" if change.connections is not None else "init"
            raise UsageError(
                f"The change names {what} and no flow.",
                remedy="Name the flow's folder, too: its files are looked at for what they take.",
            )
        return None
    spec = DeploymentSpec.model_validate(
        {
            "name": name,
            "endpoint_name": endpoint,
            "flow": change.flow,
            "connections": change.connections or {},
            "init": change.init or {},
        }
    )
    return kept(context, spec)


class _Stored:
    """The connections of the store, for choosing among them."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self) -> list[Connection]:
        return connections.listing(self._context)

    def values(self, name: str) -> ConnectionValues:
        return connections.resolve(self._context, name)


def worker_spec(
    session: Session, context: Context, row: DeploymentRow, replica: ReplicaRow, grace: int
) -> dict[str, Any]:
    """What the replica's process is told; secrets are not among it: see `private`."""
    spec = revisions.spec_of(row, replica.revision)
    snapshot, settings = spec["snapshot"], spec["request_settings"]
    token = context.vault.decrypt(replica.token)
    return {
        "name": f"{row.endpoint}/{row.name}",
        "packed": str(context.blobs.path(snapshot["sha256"])),
        "sha256": snapshot["sha256"],
        "file": snapshot["file"],
        "chosen": snapshot["chosen"],
        "overrides": snapshot["overrides"],
        "init": snapshot.get("init") or {},  # what was kept earlier has none
        "threads": settings["max_concurrent_requests_per_instance"],
        "timeout_seconds": settings["request_timeout_ms"] / 1000,
        "grace_seconds": grace,
        "memory_bytes": MEMORY,
        "values_mac": _mac(token, _values(session, context, snapshot["names"])),
        "token": token,
        "traced": Settings().tracing,
        "origin": {
            "flow": _folder(spec.get("flow") or ""),
            "title": spec["model"].removeprefix(FLOW).partition("@")[0],
            "endpoint": row.endpoint,
            "deployment": row.name,
        },
    }


def _folder(named: str) -> str:
    """The folder of the flow that a deployment was made of: what its traces are found by."""
    path = Path(named).resolve()
    return str(path.parent if path.suffix in (".yaml", ".yml", ".prompty") else path)


def private(session: Session, context: Context, deployment: str, names: Iterable[str]) -> bytes:
    """What goes through the standard input of a replica of `deployment`."""
    found = _values(session, context, names)
    for name in found:
        if find(session, context, ConnectionRow, name):
            text = f"Secrets were read for {deployment}."
            record(session, context, f"connection/{name}", "read", text)
    return json.dumps({"values": found}).encode()


def renew(session: Session, context: Context, row: DeploymentRow, replica: ReplicaRow) -> bool:
    """Begin a revision with other values where the connections' have changed since its start."""
    if not serves_flow(row.spec) or not replica.revision == row.revision == row.live:
        return False
    told: dict[str, Any] = read_json(Path(replica.run_dir) / "spec.json") or {}
    if "values_mac" not in told:
        return False
    try:
        found = _values(session, context, row.spec["snapshot"]["names"])
    except (NotFound, Conflict):
        return False  # a connection is gone: what runs goes on with what it has
    if hmac.compare_digest(told["values_mac"], _mac(told["token"], found)):
        return False
    revisions.begin(session, context, row, dict(row.spec), "skipped")
    return True


def _values(session: Session, context: Context, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    return {name: _of(session, context, name).model_dump() for name in names}


def _of(session: Session, context: Context, name: str) -> ConnectionValues:
    """As `connections.values`, in a session that is open already.

    Raises:
        NotFound: it is gone.
        Conflict: of an endpoint that only tokens open: they end while the flow goes on.
    """
    row = find(session, context, ConnectionRow, name)
    if row is not None:
        return ConnectionValues(
            name=row.name,
            type=row.type,  # type: ignore[arg-type] - checked by pydantic
            configs={key: str(value) for key, value in row.configs.items()},
            secrets=context.vault.decrypt(row.secrets),
        )
    bare = name.removeprefix(connections.ENDPOINT)
    endpoint = get(session, context, EndpointRow, bare, noun="connection", remedy="Make it again.")
    if endpoint.auth_mode != "key":
        raise Conflict(
            f"The flow calls the endpoint '{bare}', which only tokens open, and they end.",
            remedy="Give the endpoint a key, or the flow a connection with one.",
        )
    key = context.vault.decrypt(endpoint.keys)["primary"]
    spec = ConnectionSpec.to_endpoint(bare, endpoints.view(session, context, endpoint), key)
    secrets = {item: value.get_secret_value() for item, value in spec.secrets.items()}
    return ConnectionValues(name=name, type=spec.type, configs=spec.configs, secrets=secrets)


def _mac(token: str, values: Mapping[str, Any]) -> str:
    """By what a change of the values shows; without the replica's token it tells nothing."""
    content = json.dumps(values, sort_keys=True).encode()
    return hmac.new(token.encode(), content, hashlib.sha256).hexdigest()
