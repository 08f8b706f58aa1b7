"""Connections. Secret values go in here and come out for a flow that runs; they are never shown."""

from __future__ import annotations

from typing import Any

from phoundry.client.transport import Transport, segment
from phoundry.errors import NotFound
from phoundry.specs.connection import Connection, ConnectionSpec, ConnectionValues


class Connections:
    """`client.connections`"""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, spec: ConnectionSpec) -> Connection:
        return self._transport.one(Connection, "POST", "/api/connections", json=_body(spec))

    def replace(self, spec: ConnectionSpec) -> Connection:
        """Create the connection, or put this one in its place."""
        path = f"/api/connections/{segment(spec.name)}"
        return self._transport.one(Connection, "PUT", path, json=_body(spec))

    def show(self, name: str) -> Connection:
        """The connection with every secret as `***`."""
        return self._transport.one(Connection, "GET", f"/api/connections/{segment(name)}")

    def values(self, name: str) -> ConnectionValues:
        """The connection with its secrets, for a flow that runs; where there is none of that name,
        what calls the endpoint of that name (`endpoint:NAME` means it in any case)."""
        path = f"/api/connections/{segment(name)}/listsecrets"
        return self._transport.one(ConnectionValues, "POST", path)

    def find(self, name: str) -> ConnectionValues | None:
        """`values`, or None where there is no such connection."""
        try:
            return self.values(name)
        except NotFound:
            return None

    def delete(self, name: str) -> None:
        self._transport.request("DELETE", f"/api/connections/{segment(name)}")

    def list(self) -> list[Connection]:
        return self._transport.many(Connection, "/api/connections")


def _body(spec: ConnectionSpec) -> dict[str, Any]:
    body = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    # Pydantic masks secrets on the way out: here they must travel, to the vault.
    body["secrets"] = {key: value.get_secret_value() for key, value in spec.secrets.items()}
    return body
