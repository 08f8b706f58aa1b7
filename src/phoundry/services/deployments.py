"""Deployments: a model behind an endpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.errors import Conflict, NotFound
from phoundry.services import bases, defaults
from phoundry.services.context import Context, history, now, record
from phoundry.services.endpoints import REMEDY as ENDPOINT_REMEDY
from phoundry.services.logs import read_log
from phoundry.services.rows import find, get
from phoundry.specs.deployment import Deployment, DeploymentSpec, DeploymentUpdate
from phoundry.specs.job import LogChunk
from phoundry.specs.quantization import served_as
from phoundry.store.tables import DeploymentRow, EndpointRow
from phoundry.store.vault import new_secret


def create(context: Context, spec: DeploymentSpec) -> Deployment:
    """Ask for a deployment. The endpoint's first one gets all the traffic, later ones none.

    Raises:
        NotFound: the endpoint or the model.
        Conflict: the name is taken.
        InvalidInput: the default answer is larger than the context.
    """
    with context.begin("deployments/write") as session:
        endpoint = _endpoint(session, context, spec.endpoint_name)
        bases.check(session, context, spec.model)
        bases.retry(session, context, spec.model)
        present = find(session, context, DeploymentRow, spec.name, endpoint=spec.endpoint_name)
        if present is not None:
            raise _taken(present)
        query = select(DeploymentRow).filter_by(
            workspace=context.workspace, endpoint=spec.endpoint_name
        )
        first = session.scalars(query.where(DeploymentRow.state != "Deleting")).first() is None
        defaults.check_new(session, context, spec)
        model = bases.pinned(session, context, spec.model)
        # The default of today stays this deployment's, whatever it is one day.
        kind = served_as(spec.engine, spec.quantization)
        pinned = spec.model_copy(update={"model": model, "quantization": kind})
        row = DeploymentRow(
            workspace=context.workspace,
            endpoint=spec.endpoint_name,
            name=spec.name,
            state="Creating",
            spec=pinned.model_dump(mode="json", by_alias=True),
            run_dir=str(context.home.run("replica", spec.endpoint_name, spec.name)),
            token=context.vault.encrypt(new_secret()),
            notices=_notices(spec),
        )
        session.add(row)
        if first:
            endpoint.traffic = {spec.name: 100}
        resource = f"deployment/{spec.endpoint_name}/{spec.name}"
        record(session, context, resource, "created", f"Serves {spec.model}.")
        session.flush()
        made = view(session, context, row)
    context.publish()
    return made


def listing(context: Context, endpoint: str) -> list[Deployment]:
    with context.begin("deployments/read") as session:
        _endpoint(session, context, endpoint)
        query = select(DeploymentRow).filter_by(workspace=context.workspace, endpoint=endpoint)
        rows = session.scalars(query.order_by(DeploymentRow.id)).all()
        return [view(session, context, row) for row in rows]


def show(context: Context, endpoint: str, name: str) -> Deployment:
    with context.begin("deployments/read") as session:
        row = _get(session, context, endpoint, name)
        deployment = view(session, context, row)
        deployment.events = history(session, context, f"deployment/{endpoint}/{name}")
        return deployment


def logs(context: Context, endpoint: str, name: str, offset: int = 0) -> LogChunk:
    """What the replica wrote, from byte `offset` on."""
    with context.begin("deployments/read") as session:
        row = _get(session, context, endpoint, name)
        path, finished = Path(row.run_dir) / "log.txt", row.state == "Failed"
    return read_log(path, offset, finished=finished)


def update(context: Context, endpoint: str, name: str, change: DeploymentUpdate) -> Deployment:
    """Change what may change while it serves.

    New defaults hold from the next request on: the replica is not restarted, and a request that is
    being answered keeps the old ones.

    Raises:
        InvalidInput: the model cannot answer under the new defaults; nothing has changed.
    """
    with context.begin("deployments/write") as session:
        row = _get(session, context, endpoint, name)
        if row.state == "Deleting":
            raise _taken(row)
        if change.description is not None:
            row.spec = row.spec | {"description": change.description}
        if change.tags is not None:
            row.spec = row.spec | {"tags": change.tags}
        if change.defaults is not None:
            defaults.change(row, change.defaults)
            given = ", ".join(sorted(change.defaults.model_fields_set))
            resource = f"deployment/{endpoint}/{name}"
            record(session, context, resource, "updated", f"Defaults changed: {given}.")
        made = view(session, context, row)
        session.flush()
    # After the row: cut off here, the reconciler's next look delivers them.
    if change.defaults is not None:
        defaults.deliver(row)
    return made


def retry(context: Context, endpoint: str, name: str) -> Deployment:
    """Let a failed deployment try again, with the traffic that it has; others are left alone."""
    with context.begin("deployments/write") as session:
        row = _get(session, context, endpoint, name)
        if row.state == "Failed":
            bases.retry(session, context, row.spec["model"])
            row.state, row.replica, row.failures, row.error = "Creating", "waiting", 0, None
            record(session, context, f"deployment/{endpoint}/{name}", "retried", "Tried again.")
        return view(session, context, row)


def delete(context: Context, endpoint: str, name: str) -> None:
    """Stop and forget a deployment.

    Raises:
        Conflict: it has live traffic.
    """
    with context.begin("deployments/delete") as session:
        row = _get(session, context, endpoint, name)
        share = _endpoint(session, context, endpoint).traffic.get(name, 0)
        if share:
            raise Conflict(
                f"Deployment '{name}' has {share} % of the live traffic of '{endpoint}'.",
                remedy=f"Move it first: `phoundry endpoint update {endpoint} --traffic "
                f"{name}=0` (or name the deployment that takes over), then delete.",
            )
        row.state = "Deleting"
        row.stopping_since = row.stopping_since or now()
        workers.terminate(Path(row.run_dir))
        record(session, context, f"deployment/{endpoint}/{name}", "deleting", "Deletion asked for.")
    context.publish()


def forget(session: Session, row: DeploymentRow) -> None:
    """Remove a deployment whose replica has ended, with its folder."""
    shutil.rmtree(row.run_dir, ignore_errors=True)
    session.delete(row)


def view(session: Session, context: Context, row: DeploymentRow) -> Deployment:
    endpoint = find(session, context, EndpointRow, row.endpoint)
    worker = workers.inspect(Path(row.run_dir))
    pid = worker.pid if worker.running else None
    ready = worker.ready or {}
    waits = row.replica == "waiting" and row.state != "Deleting"
    return Deployment.model_validate(
        {
            **row.spec,
            "quantization": served_as(row.spec["engine"], row.spec.get("quantization")),
            "defaults": defaults.of(row),
            "provisioning_state": row.state,
            "preparation": bases.preparation(session, context, row.spec["model"])
            if waits
            else None,
            "traffic": endpoint.traffic.get(row.name, 0) if endpoint else 0,
            "pid": pid,
            "port": ready.get("port") if pid else None,
            "memory_bytes": workers.memory_bytes(pid) if pid else None,
            "restarts": row.restarts,
            "error": row.error,
            "notices": row.notices,
            "created_at": row.created_at,
        }
    )


def _endpoint(session: Session, context: Context, name: str) -> EndpointRow:
    row = get(session, context, EndpointRow, name, noun="endpoint", remedy=ENDPOINT_REMEDY)
    if row.state == "Deleting":
        raise NotFound(
            f"Endpoint '{name}' is being deleted.",
            remedy="Create it again in a few seconds, when its processes have ended.",
        )
    return row


def _get(session: Session, context: Context, endpoint: str, name: str) -> DeploymentRow:
    _endpoint(session, context, endpoint)
    return get(
        session,
        context,
        DeploymentRow,
        name,
        noun=f"deployment of '{endpoint}'",
        remedy=f"`phoundry deployment list --endpoint {endpoint}` shows what there is.",
        endpoint=endpoint,
    )


def _taken(row: DeploymentRow) -> Conflict:
    if row.state == "Deleting":
        return Conflict(
            f"The deployment '{row.name}' of endpoint '{row.endpoint}' is still being deleted.",
            remedy="Try again in a few seconds, when its process has ended.",
        )
    return Conflict(
        f"Endpoint '{row.endpoint}' has a deployment '{row.name}' already.",
        remedy="Choose another name, or delete that one first.",
    )


def _notices(spec: DeploymentSpec) -> list[str]:
    where = spec.instance_type or spec.compute
    return [f"'{where}' is recorded; the deployment runs on this machine."] if where else []
