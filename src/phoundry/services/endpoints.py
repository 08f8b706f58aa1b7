"""Online endpoints: names, keys, traffic, limits. Tokens are in `endpoint_tokens`."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.errors import Conflict, Fault, InvalidInput
from phoundry.services import endpoint_tokens, parity, routing
from phoundry.services import traffic as sharing
from phoundry.services.addresses import gateway_url
from phoundry.services.context import Context, history, now, record
from phoundry.services.rows import find, get
from phoundry.specs.endpoint import (
    Endpoint,
    EndpointKeys,
    EndpointSpec,
    EndpointUpdate,
    KeyType,
)
from phoundry.store.tables import DeploymentRow, EndpointRow
from phoundry.store.vault import new_secret

REMEDY = "`phoundry endpoint list` shows what there is; `phoundry endpoint create` adds one."
# Of the spec: what the row keeps in `settings`.
_SETTINGS = {"rate_limit", "allowed_origins"}


def create(context: Context, spec: EndpointSpec) -> Endpoint:
    """Make an endpoint with two new keys. Raises Conflict where the name is taken."""
    shares = {"traffic": spec.traffic, "mirror_traffic": spec.mirror_traffic}
    if faults := [Fault(key, f"names {', '.join(of)}") for key, of in shares.items() if of]:
        raise InvalidInput(
            "An endpoint that is being created has no deployments to send traffic to.",
            faults=faults,
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
            mirror={},
            settings=spec.model_dump(mode="json", include=_SETTINGS),
            keys=context.vault.encrypt({"primary": new_secret(), "secondary": new_secret()}),
            description=spec.description,
            tags=dict(spec.tags),
        )
        session.add(row)
        endpoint_tokens.forget(session, context, spec.name)  # of an endpoint of that name before
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
    """Both keys. Raises Conflict where tokens open the endpoint instead."""
    with context.begin("endpoints/listkeys") as session:
        return _keys(context, _with_keys(session, context, name))


def regenerate_key(context: Context, name: str, key_type: KeyType) -> EndpointKeys:
    """Replace one key; the old one is refused from the moment this returns."""
    with context.begin("endpoints/regeneratekeys") as session:
        row = _with_keys(session, context, name)
        present = context.vault.decrypt(row.keys)
        row.keys = context.vault.encrypt({**present, key_type: new_secret()})
        record(session, context, f"endpoint/{name}", "key", f"New {key_type} key.")
        renewed = _keys(context, row)
    context.publish()
    return renewed


def update(context: Context, name: str, change: EndpointUpdate) -> Endpoint:
    """Change what `change` sets; in force when this returns. Deployments that new traffic does not
    name get 0.

    Raises:
        InvalidInput: a share for what is not deployed, or one deployment live and a mirror;
            nothing has changed.
        Conflict: a share for what has not passed the deploy gate.
    """
    with context.begin("endpoints/write") as session:
        row = get(session, context, EndpointRow, name, noun="endpoint", remedy=REMEDY)
        if row.state == "Deleting":
            raise _taken(row)
        if change.traffic is not None or change.mirror_traffic is not None:
            _share_out(session, context, row, change)
        _limit(session, context, row, change)
        _describe(session, context, row, change)
        endpoint = view(session, context, row)
    context.publish()
    return endpoint


def _share_out(
    session: Session, context: Context, row: EndpointRow, change: EndpointUpdate
) -> None:
    """New live and mirrored shares, checked together with those that stay."""
    live = row.traffic if change.traffic is None else change.traffic
    mirror = row.mirror if change.mirror_traffic is None else change.mirror_traffic
    known = _deployments(session, context, row.name)
    sharing.check(row.name, known, live=live, mirror=mirror)
    parity.check_traffic(row.name, known, live, row.traffic)
    resource = f"endpoint/{row.name}"
    if change.traffic is not None:
        row.traffic = sharing.shares(change.traffic)
        words = sharing.words(row.traffic)
        record(session, context, resource, "traffic", f"Traffic: {words}.")
    if change.mirror_traffic is not None:
        row.mirror = sharing.shares(change.mirror_traffic)
        words = sharing.words(row.mirror)
        record(session, context, resource, "mirror", f"Mirrored: {words}.")


def _limit(session: Session, context: Context, row: EndpointRow, change: EndpointUpdate) -> None:
    """How often its keys may ask, and from which web pages."""
    given = change.model_fields_set & _SETTINGS
    # Origins have no null of their own: leaving the key out is what changes nothing.
    given -= {"allowed_origins"} if change.allowed_origins is None else set()
    if not given:
        return
    row.settings = row.settings | change.model_dump(mode="json", include=given)
    said = ", ".join(sorted(given)).replace("_", " ")
    record(session, context, f"endpoint/{row.name}", "limits", f"Changed: {said}.")


def _describe(session: Session, context: Context, row: EndpointRow, change: EndpointUpdate) -> None:
    if change.description is None and change.tags is None:
        return
    row.description = row.description if change.description is None else change.description
    row.tags = row.tags if change.tags is None else change.tags
    record(session, context, f"endpoint/{row.name}", "described", "New description or tags.")


def delete(context: Context, name: str) -> None:
    """Take the endpoint out of service at once; its replicas are stopped and then forgotten."""
    with context.begin("endpoints/delete") as session:
        row = get(session, context, EndpointRow, name, noun="endpoint", remedy=REMEDY)
        row.state, row.traffic, row.mirror = "Deleting", {}, {}
        for deployment in _deployments(session, context, name):
            deployment.state = "Deleting"
            deployment.stopping_since = deployment.stopping_since or now()
        endpoint_tokens.forget(session, context, name)
        record(session, context, f"endpoint/{name}", "deleting", "Deletion was asked for.")
    context.publish()
    # After the gateway knows: what it sends to one that ends would be lost.
    with context.begin("endpoints/delete") as session:
        for deployment in _deployments(session, context, name):
            routing.end(session, context, deployment)


def view(session: Session, context: Context, row: EndpointRow) -> Endpoint:
    base = gateway_url(context.home)
    known = _deployments(session, context, row.name)
    return Endpoint.model_validate(
        {
            "name": row.name,
            "auth_mode": row.auth_mode,
            "provisioning_state": row.state,
            "traffic": row.traffic,
            "mirror_traffic": row.mirror,
            **row.settings,
            "scoring_uri": f"{base}/endpoints/{row.name}/score",
            "openai_base_url": f"{base}/v1",
            "deployments": [item.name for item in known],
            "gates": {item.name: item.gate for item in known},
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


def _with_keys(session: Session, context: Context, name: str) -> EndpointRow:
    row = get(session, context, EndpointRow, name, noun="endpoint", remedy=REMEDY)
    if row.auth_mode != "key":
        raise Conflict(
            f"Endpoint '{name}' has auth_mode {row.auth_mode}: no key opens it.",
            remedy=f"`phoundry endpoint token {name}` gives a token.",
        )
    return row


def _keys(context: Context, row: EndpointRow) -> EndpointKeys:
    present = context.vault.decrypt(row.keys)
    return EndpointKeys(primaryKey=present["primary"], secondaryKey=present["secondary"])
