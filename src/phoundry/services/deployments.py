"""Deployments: a model behind an endpoint."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.errors import Conflict, NotFound, Unavailable
from phoundry.services import (
    bases,
    changes,
    defaults,
    engine_choice,
    flow_deployments,
    parity,
    replicas,
    revisions,
    routing,
)
from phoundry.services.context import Context, history, now
from phoundry.services.deployment_rows import note, resource, row_of
from phoundry.services.endpoints import REMEDY as ENDPOINT_REMEDY
from phoundry.services.logs import read_log
from phoundry.services.rows import find, get
from phoundry.specs.deployment import Deployment, DeploymentSpec, DeploymentUpdate, serves_flow
from phoundry.specs.job import LogChunk
from phoundry.specs.quantization import served_as
from phoundry.store.tables import DeploymentRow, EndpointRow


def create(context: Context, spec: DeploymentSpec) -> Deployment:
    """Ask for a deployment. The endpoint's first one gets all the traffic, once it has passed the
    deploy gate; later ones none.

    Raises:
        NotFound: the endpoint or the model.
        Conflict: the name is taken.
        InvalidInput: the default answer is larger than the context.
    """
    spec = flow_deployments.kept(context, spec)
    with context.begin("deployments/write") as session:
        _endpoint(session, context, spec.endpoint_name)
        if spec.snapshot is None:
            bases.check(session, context, spec.model)
            bases.retry(session, context, spec.model)
        present = find(session, context, DeploymentRow, spec.name, endpoint=spec.endpoint_name)
        if present is not None:
            raise _taken(present)
        model = spec.model
        if spec.snapshot is None:
            defaults.check_new(session, context, spec)
            model = bases.pinned(session, context, spec.model)
        spec, told = engine_choice.settled(session, context, spec)
        # The default of today stays this deployment's, whatever it is one day.
        kind = served_as(spec.engine, spec.quantization)
        pinned = spec.model_copy(update={"model": model, "quantization": kind})
        row = DeploymentRow(
            workspace=context.workspace,
            endpoint=spec.endpoint_name,
            name=spec.name,
            state="Creating",
            spec=pinned.model_dump(mode="json", by_alias=True, exclude={"environment_variables"}),
            wanted=revisions.wanted(spec, None),
            gate="pending" if spec.gate else "skipped",
            notices=[*spec.notices(), *told],
        )
        session.add(row)
        note(session, context, row, "created", f"Serves {spec.model}.")
        session.flush()
        if not spec.gate:
            parity.skip(session, context, row)
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
    """The deployment. That it serves is told when the gateway knows it, too: who hears it asks it
    next. A gateway that hangs is the reconciler's to see to."""
    with context.begin("deployments/read") as session:
        row = _get(session, context, endpoint, name)
        deployment = view(session, context, row)
        deployment.events = history(session, context, resource(endpoint, name))
    if deployment.settled:
        with suppress(Unavailable):
            context.publish()
    return deployment


def logs(
    context: Context, endpoint: str, name: str, offset: int = 0, *, replica: int | None = None
) -> LogChunk:
    """What a replica wrote, from byte `offset` on; the first one that there is unless named. Of one
    that shares a process, what that has written, for all that share it.

    Raises:
        NotFound: no replica has that number.
    """
    with context.begin("deployments/read") as session:
        row = _get(session, context, endpoint, name)
        every = replicas.of(session, context, row)
        chosen = [each for each in every if replica in (None, each.number)]
        if replica is not None and not chosen:
            known = ", ".join(str(each.number) for each in every) or "none"
            raise NotFound(
                f"Deployment '{endpoint}/{name}' has no replica {replica}.",
                remedy=f"It has: {known}.",
            )
        path = replicas.log_path(chosen[0]) if chosen else None
        finished = not chosen or chosen[0].state == "failed"
    return read_log(path or Path("-"), offset, finished=finished)


def update(context: Context, endpoint: str, name: str, change: DeploymentUpdate) -> Deployment:
    """Change what `change` sets; no request is dropped.

    What needs other processes makes a new revision, which is rolled out: see `revisions`. All else
    is in force when this returns: the replicas are not restarted, and a request that is being
    answered keeps the old defaults.

    Raises:
        InvalidInput: the change does not go with the rest, or the model cannot answer under the
            new defaults; nothing has changed.
        NotFound: the model.
    """
    kept = flow_deployments.kept_of(context, endpoint, name, change)
    with context.begin("deployments/write") as session:
        row = _get(session, context, endpoint, name)
        if row.state == "Deleting":
            raise _taken(row)
        changes.apply(session, context, row, change, kept)
        session.flush()
        made = view(session, context, row)
    # After the row: cut off here, the reconciler's next look delivers them.
    with context.begin("deployments/write") as session:
        kept = find(session, context, DeploymentRow, name, endpoint=endpoint)
        if kept is not None:
            for replica in replicas.of(session, context, kept):
                defaults.deliver(kept, replica)
    context.publish()
    return made


def roll_back(context: Context, endpoint: str, name: str) -> Deployment:
    """Give up the revision that is being rolled out, or go back to the one before.

    Raises:
        Conflict: there is none before.
    """
    with context.begin("deployments/write") as session:
        row = _get(session, context, endpoint, name)
        if row.state == "Deleting":
            raise _taken(row)
        revisions.roll_back(session, context, row)
        parity.ask_anew(context, row)
        session.flush()
        made = view(session, context, row)
    context.publish()
    return made


def retry(context: Context, endpoint: str, name: str) -> Deployment:
    """Let failed replicas try again; the traffic stays, and others are left alone."""
    with context.begin("deployments/write") as session:
        row = _get(session, context, endpoint, name)
        failed = [one for one in replicas.of(session, context, row) if one.state == "failed"]
        if row.state == "Failed" or (failed and row.state != "Deleting"):
            if not serves_flow(row.spec):
                bases.retry(session, context, row.spec["model"])
            for replica in failed:
                replica.state, replica.failures, replica.error = "waiting", 0, None
            if row.state == "Failed":
                row.state, row.error = "Creating", None
            note(session, context, row, "retried", "Tried again.")
        parity.again(context, row)
        return view(session, context, row)


def delete(context: Context, endpoint: str, name: str) -> None:
    """Take a deployment out of service, then stop and forget it.

    Raises:
        Conflict: it has live traffic, or a share of it is copied to it.
    """
    with context.begin("deployments/delete") as session:
        row = _get(session, context, endpoint, name)
        _check_idle(_endpoint(session, context, endpoint), name)
        row.state = "Deleting"
        row.stopping_since = row.stopping_since or now()
        note(session, context, row, "deleting", "Deletion asked for.")
    context.publish()
    # After the gateway knows: what it sends to one that ends would be lost.
    with context.begin("deployments/delete") as session:
        routing.end(session, context, row)


def _check_idle(endpoint: EndpointRow, name: str) -> None:
    """Raise Conflict where a deployment gets requests, or copies of them."""
    if share := endpoint.traffic.get(name, 0):
        raise Conflict(
            f"Deployment '{name}' has {share} % of the live traffic of '{endpoint.name}'.",
            remedy=f"Move it first: `phoundry endpoint update {endpoint.name} --traffic "
            f"{name}=0` (or name the deployment that takes over), then delete.",
        )
    if share := endpoint.mirror.get(name, 0):
        raise Conflict(
            f"{share} % of the requests of '{endpoint.name}' are copied to deployment '{name}'.",
            remedy=f"End that first: `phoundry endpoint update {endpoint.name} --mirror none`, "
            "then delete.",
        )


def view(session: Session, context: Context, row: DeploymentRow) -> Deployment:
    endpoint = find(session, context, EndpointRow, row.endpoint)
    every = replicas.of(session, context, row)
    shown = [replicas.view(each) for each in every]
    running = [each for each in shown if each.pid] or [None]
    waits = row.state != "Deleting" and any(each.state == "waiting" for each in every)
    waits = waits or (row.state == "Creating" and not every)
    of_now = [each for each in shown if each.revision >= row.live]
    crashed = next((each.error for each in of_now if each.error), None)
    return Deployment.model_validate(
        {
            **row.spec,
            **_engine(row),
            "defaults": defaults.of(row.spec),
            "provisioning_state": row.state,
            "revision": row.revision,
            "gate": row.gate,
            "instance_count": row.spec.get("instance_count", 1),
            "ready_replicas": sum(each.state == "ready" for each in shown),
            "asleep": row.wanted == 0 and row.state == "Succeeded",
            "replicas": shown,
            "preparation": bases.preparation(session, context, row.spec["model"])
            if waits and not serves_flow(row.spec)
            else parity.preparation(context, row),
            "traffic": endpoint.traffic.get(row.name, 0) if endpoint else 0,
            "pid": running[0].pid if running[0] else None,
            "port": running[0].port if running[0] else None,
            "memory_bytes": sum(each.memory_bytes or 0 for each in shown) or None,
            "restarts": sum(each.restarts for each in shown),
            "error": row.error or crashed,
            "notices": row.notices,
            "created_at": row.created_at,
        }
    )


def _engine(row: DeploymentRow) -> dict[str, Any]:
    """What answers: of a model its engine and the kind of its weights."""
    if serves_flow(row.spec):
        return {"engine": "flow", "quantization": None}
    engine = row.spec["engine"]
    return {"engine": engine, "quantization": served_as(engine, row.spec.get("quantization"))}


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
    return row_of(session, context, endpoint, name)


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
