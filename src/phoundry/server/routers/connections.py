"""/api/connections"""

from __future__ import annotations

from fastapi import APIRouter

from phoundry.errors import Fault, InvalidInput
from phoundry.server.routers.common import Acting
from phoundry.services import connections
from phoundry.specs.connection import Connection, ConnectionSpec, ConnectionValues

router = APIRouter(prefix="/connections", tags=["connections"])


@router.post("", status_code=201)
def create(context: Acting, spec: ConnectionSpec) -> Connection:
    return connections.create(context, spec)


@router.put("/{name}")
def replace(context: Acting, name: str, spec: ConnectionSpec) -> Connection:
    if spec.name != name:
        fault = Fault("name", f"'{spec.name}', in the path '{name}'")
        raise InvalidInput("The connection has another name.", faults=[fault])
    return connections.create(context, spec, replace=True)


@router.get("")
def listing(context: Acting) -> list[Connection]:
    return connections.listing(context)


@router.get("/{name}")
def show(context: Acting, name: str) -> Connection:
    return connections.show(context, name)


@router.delete("/{name}")
def delete(context: Acting, name: str) -> dict[str, str]:
    connections.delete(context, name)
    return {}


@router.post("/{name}/listsecrets")
def values(context: Acting, name: str) -> ConnectionValues:
    return connections.resolve(context, name)
