"""Online endpoints: names, keys, traffic."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.errors import Conflict, Fault, InvalidInput
from phoundry.services.addresses import gateway_url
from phoundry.services.context import Context, history, now, record
from phoundry.services.rows import find, get
from phoundry.specs.endpoint import Endpoint, EndpointKeys, EndpointSpec, KeyType, Traffic
from phoundry.store.tables import DeploymentRow, EndpointRow
from phoundry.store.vault import new_secret

REMEDY = "`phoundry endpoint list` shows what there is; `phoundry endpoint create` adds one."


def create(context: Context, spec: EndpointSpec) -> Endpoint:
    """Make an endpoint with two new keys. Raises Conflict where the name is taken."""
    if spec.traffic:
        raise InvalidInput(
            "An endpoint that is being created has no deployments to send traffic to.",
            faults=[Fault("traffic", f"names {', '.join(spec.traffic)}")],
            remedy="Create the deployments, then run `phoundry endpoint update NAME --traffic …`.",
        )
    with context.begin("endpoints/write") as session:
        if present := find(session, context, EndpointRow, spec.name):
            raise _taken(present)
        row = EndpointRow(
            workspace=context.workspace,
            name=spec.name,
            auth_mode=spec.auth_mode,
            state="Succeeded",
            traffic={},
            keys=context.vault.encrypt({"primary": new_secret(), "secondary": new_secret()}),
            description=spec.description,
            tags=dict(spec.tags),
        )
        session.add(row)
        record(session, context, f"endpoint/{spec.name}", "created", "Created.")
        session.flush()
        made = view(session, context, row)
    context.publish()
    return made


def listing(context: Context) -> list[Endpoint]:
    with context.begin("endpoints/read") as session:
        query = select(EndpointRow).filter_by(workspace=context.workspace)
        rows = session.scalars(query.order_by(EndpointRow.name)).all()
        return [view(session, context, row) for row in rows]


def show(context: Context, name: str) -> Endpoint:
    with context.begin("endpoints/read") as session:
        row = get(session, context, EndpointRow, name, noun="endpoint", remedy=REMEDY)
        endpoint = view(session, context, row)
        endpoint.events = history(session, context, f"endpoint/{name}")
        return endpoint


def keys(context: Context, name: str) -> EndpointKeys:
    with context.begin("endpoints/listkeys") as session:
        row = get(session, context, EndpointRow, name, noun="endpoint", remedy=REMEDY)
        return _keys(context, row)


def regenerate_key(context: Context, name: str, key_type: KeyType) -> EndpointKeys:
    """Replace one key; the old one is refused from the moment this returns."""
    with context.begin("endpoints/regeneratekeys") as session:
        row = get(session, context, EndpointRow, name, noun="endpoint", remedy=REMEDY)
        present = context.vault.decrypt(row.keys)
        row.keys = context.vault.encrypt({**present, key_type: new_secret()})
        record(session, context, f"endpoint/{name}", "key", f"New {key_type} key.")
        renewed = _keys(context, row)
    context.publish()
    return renewed


def update_traffic(context: Context, name: str, traffic: Traffic) -> Endpoint:
    """Set the weights; in force when this returns. Deployments not named get 0.

    Raises:
        InvalidInput: a share for a deployment that is not there.
    """
    with context.begin("endpoints/write") as session:
        row = get(session, context, EndpointRow, name, noun="endpoint", remedy=REMEDY)
        known = [item for item in _deployments(session, context, name) if item.state != "Deleting"]
        unknown = sorted(set(traffic) - {item.name for item in known})
        if unknown:
            raise InvalidInput(
                f"Endpoint '{name}' has no deployment {', '.join(unknown)}.",
                faults=[Fault("traffic", f"'{item}' is not deployed") for item in unknown],
                remedy=f"It has: {', '.join(item.name for item in known) or 'none'}.",
            )
        row.traffic = {item: share for item, share in traffic.items() if share}
        shares = ", ".join(f"{item} {share} %" for item, share in row.traffic.items()) or "none"
        record(session, context, f"endpoint/{name}", "traffic", f"Traffic: {shares}.")
        endpoint = view(session, context, row)
    context.publish()
    return endpoint


def describe(context: Context, name: str, description: str, tags: dict[str, str]) -> Endpoint:
    """Replace an endpoint's description and tags; what it serves is not touched."""
    with context.begin("endpoints/write") as session:
        row = get(session, context, EndpointRow, name, noun="endpoint", remedy=REMEDY)
        row.description, row.tags = description, tags
        record(session, context, f"endpoint/{name}", "described", "New description or tags.")
        return view(session, context, row)


def delete(context: Context, name: str) -> None:
    """Take the endpoint out of service at once; its replicas are stopped and then forgotten."""
    with context.begin("endpoints/delete") as session:
        row = get(session, context, EndpointRow, name, noun="endpoint", remedy=REMEDY)
        row.state, row.traffic = "Deleting", {}
        for deployment in _deployments(session, context, name):
            deployment.state = "Deleting"
            deployment.stopping_since = deployment.stopping_since or now()
            workers.terminate(Path(deployment.run_dir))
        record(session, context, f"endpoint/{name}", "deleting", "Deletion was asked for.")
    context.publish()


def view(session: Session, context: Context, row: EndpointRow) -> Endpoint:
    base = gateway_url(context.home)
    return Endpoint.model_validate(
        {
            "name": row.name,
            "auth_mode": row.auth_mode,
            "provisioning_state": row.state,
            "traffic": row.traffic,
            "scoring_uri": f"{base}/endpoints/{row.name}/score",
            "openai_base_url": f"{base}/v1",
            "deployments": [item.name for item in _deployments(session, context, row.name)],
            "description": row.description,
            "tags": row.tags,
            "created_at": row.created_at,
        }
    )


def _taken(row: EndpointRow) -> Conflict:
    if row.state == "Deleting":
        return Conflict(
            f"The endpoint '{row.name}' is still being deleted.",
            remedy="Try again in a few seconds, when its processes have ended.",
        )
    return Conflict(f"There is an endpoint '{row.name}' already.", remedy="Choose another name.")


def _deployments(session: Session, context: Context, name: str) -> list[DeploymentRow]:
    query = select(DeploymentRow).filter_by(workspace=context.workspace, endpoint=name)
    return list(session.scalars(query.order_by(DeploymentRow.id)))


def _keys(context: Context, row: EndpointRow) -> EndpointKeys:
    present = context.vault.decrypt(row.keys)
    return EndpointKeys(primaryKey=present["primary"], secondaryKey=present["secondary"])
