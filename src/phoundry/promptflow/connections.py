"""`client.connections` of a script: those of this home."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phoundry.errors import UsageError
from phoundry.flows.provided.connections import Connection, build
from phoundry.promptflow.errors import ConnectionNotFoundError, finding

if TYPE_CHECKING:
    from phoundry.client import Client

MOST_LISTED = 50
HIDDEN = "******"  # what Prompt flow shows of a secret


class ConnectionOperations:
    """As in Prompt flow, secrets are hidden unless they are asked for."""

    def __init__(self, home: Client) -> None:
        self._home = home

    def get(self, name: str, *, with_secrets: bool = False, **_: Any) -> Connection:
        """Raises ConnectionNotFoundError."""
        with finding(name, ConnectionNotFoundError):
            if with_secrets:
                return build(self._home.connections.values(name).model_dump())
            found = self._home.connections.show(name)
        return build({**found.model_dump(), "secrets": dict.fromkeys(found.secrets, HIDDEN)})

    _get = get  # what scripts call for the secrets

    def list(self, max_results: int = MOST_LISTED, all_results: bool = False) -> list[Connection]:
        found = self._home.connections.list()
        names = [each.name for each in found][: None if all_results else max_results]
        return [self.get(name) for name in names]

    def create_or_update(self, connection: Connection, **_: Any) -> Connection:
        """Keep the connection, in place of one of the same name.

        Raises:
            UsageError: it is no connection, or has no name.
            InvalidInput: a key that its type needs is missing.
        """
        from phoundry.client.checking import checked
        from phoundry.specs.connection import ConnectionSpec

        if not isinstance(connection, Connection):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(
                f"{type(connection).__name__} is no connection.",
                remedy="Make one: promptflow.entities.CustomConnection(name=…, secrets=…, …)",
            )
        if not connection.name:
            raise UsageError("The connection has no name.", remedy="Give it one: name='…'")
        secrets = dict(connection.secrets)
        if HIDDEN in secrets.values():
            # What `get` gave, changed and handed back: the secrets stay what they are.
            kept = self._home.connections.values(connection.name).secrets
            secrets |= {k: kept[k] for k, text in secrets.items() if text == HIDDEN and k in kept}
        spec = {
            "name": connection.name,
            "type": connection.type,
            "configs": {key: str(value) for key, value in connection.configs.items()},
            "secrets": secrets,
        }
        self._home.connections.replace(checked(ConnectionSpec, spec, "The connection"))
        return self.get(connection.name)

    def delete(self, name: str) -> None:
        """Raises ConnectionNotFoundError."""
        with finding(name, ConnectionNotFoundError):
            self._home.connections.delete(name)
