"""Connections: configs in clear, secrets encrypted."""

from __future__ import annotations

from sqlalchemy import select

from phoundry.errors import Conflict
from phoundry.services import endpoint_tokens, endpoints
from phoundry.services.context import Context, now, record
from phoundry.services.rows import find, get
from phoundry.specs.connection import HIDDEN, KEPT, Connection, ConnectionSpec, ConnectionValues
from phoundry.store.tables import ConnectionRow, EndpointRow

ENDPOINT = "endpoint:"
_REMEDY = "`phoundry connection list` shows what there is; `phoundry connection create` adds one."


def create(context: Context, spec: ConnectionSpec, *, replace: bool = False) -> Connection:
    """Store a connection; in one that is replaced, a placeholder keeps the secret's value.

    Raises:
        Conflict: the name is taken and `replace` is not set.
    """
    with context.begin("connections/write") as session:
        row = find(session, context, ConnectionRow, spec.name)
        if row and not replace:
            raise Conflict(
                f"There is a connection '{spec.name}' already.",
                remedy=f"Change it with `phoundry connection update {spec.name} …`.",
            )
        secrets = _filled(spec, context.vault.decrypt(row.secrets) if row else {})
        if row is None:
            row = ConnectionRow(workspace=context.workspace, name=spec.name)
            session.add(row)
        row.type = spec.type
        row.configs = dict(spec.configs)
        row.secret_names = sorted(secrets)
        row.secrets = context.vault.encrypt(secrets)
        row.updated_at = now()
        session.flush()
        record(session, context, f"connection/{spec.name}", "written", "Stored.")
        return view(row)


def listing(context: Context) -> list[Connection]:
    with context.begin("connections/read") as session:
        query = select(ConnectionRow).filter_by(workspace=context.workspace)
        return [view(row) for row in session.scalars(query.order_by(ConnectionRow.name))]


def show(context: Context, name: str) -> Connection:
    with context.begin("connections/read") as session:
        return view(get(session, context, ConnectionRow, name, noun="connection", remedy=_REMEDY))


def values(context: Context, name: str) -> ConnectionValues:
    """With the secrets in clear, for a flow that runs. Recorded in the connection's history."""
    with context.begin("connections/listsecrets") as session:
        row = get(session, context, ConnectionRow, name, noun="connection", remedy=_REMEDY)
        record(session, context, f"connection/{name}", "read", "Secrets were read.")
        return ConnectionValues(
            name=row.name,
            type=row.type,  # type: ignore[arg-type] - checked by pydantic
            configs={key: str(value) for key, value in row.configs.items()},
            secrets=context.vault.decrypt(row.secrets),
        )


def resolve(context: Context, name: str) -> ConnectionValues:
    """As `values`; a name that no connection has, or `endpoint:NAME`, may be an endpoint's: then
    these are what calls it now, and its key is copied nowhere.

    Raises:
        NotFound: neither a connection nor an endpoint.
    """
    if name.startswith(ENDPOINT):
        return of_endpoint(context, name.removeprefix(ENDPOINT))
    with context.begin("connections/listsecrets") as session:
        row = find(session, context, ConnectionRow, name)
        found = row is not None or find(session, context, EndpointRow, name) is None
    return values(context, name) if found else of_endpoint(context, name)


def of_endpoint(context: Context, name: str) -> ConnectionValues:
    """What a flow needs to call the endpoint `name`: its address, and its key or a new token.

    Raises:
        NotFound: there is no such endpoint.
    """
    endpoint = endpoints.show(context, name)
    if endpoint.auth_mode == "aml_token":
        key = endpoint_tokens.issue(context, name).accessToken
    else:
        key = endpoints.keys(context, name).primaryKey
    spec = ConnectionSpec.to_endpoint(name, endpoint, key)
    secrets = {item: value.get_secret_value() for item, value in spec.secrets.items()}
    return ConnectionValues(name=name, type=spec.type, configs=spec.configs, secrets=secrets)


def differences(context: Context, spec: ConnectionSpec) -> list[str] | None:
    """Names of what would change by storing `spec`; None where there is no such connection.

    A secret that is a placeholder keeps its value. No value leaves the vault, so nothing is
    recorded as read.
    """
    with context.begin("connections/write") as session:
        row = find(session, context, ConnectionRow, spec.name)
        if row is None:
            return None
        secrets: dict[str, str] = context.vault.decrypt(row.secrets)
        wanted = _filled(spec, secrets)
        configs = {key: str(value) for key, value in row.configs.items()}
        found = ["type"] if row.type != spec.type else []
        for section, old, new in (
            ("configs", configs, spec.configs),
            ("secrets", secrets, wanted),
        ):
            names = sorted(old.keys() | new.keys())
            found += [f"{section}.{name}" for name in names if old.get(name) != new.get(name)]
        return found


def delete(context: Context, name: str) -> None:
    with context.begin("connections/write") as session:
        session.delete(
            get(session, context, ConnectionRow, name, noun="connection", remedy=_REMEDY)
        )


def _filled(spec: ConnectionSpec, present: dict[str, str]) -> dict[str, str]:
    """The secrets of `spec`, with the values there are in place of placeholders."""
    written = {name: value.get_secret_value() for name, value in spec.secrets.items()}
    return {
        name: present[name] if value in KEPT and name in present else value
        for name, value in written.items()
    }


def view(row: ConnectionRow) -> Connection:
    return Connection.model_validate(
        {
            "name": row.name,
            "type": row.type,
            "configs": row.configs,
            "secrets": dict.fromkeys(row.secret_names, HIDDEN),
            "created_at": row.created_at,
            "updated_at": row.updated_at,
        }
    )
