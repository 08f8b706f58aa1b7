"""/api/endpoints"""

from __future__ import annotations

from fastapi import APIRouter

from phoundry.server.routers.common import Acting
from phoundry.services import endpoint_tokens, endpoints
from phoundry.specs.base import Spec
from phoundry.specs.endpoint import (
    Endpoint,
    EndpointKeys,
    EndpointSpec,
    EndpointToken,
    EndpointUpdate,
    KeyType,
    TokenRequest,
)

router = APIRouter(tags=["endpoints"])


class RegenerateKey(Spec):
    keyType: KeyType  # noqa: N815 - Azure's wire name


@router.post("/endpoints", status_code=201)
def create(context: Acting, spec: EndpointSpec) -> Endpoint:
    return endpoints.create(context, spec)


@router.get("/endpoints")
def listing(context: Acting) -> list[Endpoint]:
    return endpoints.listing(context)


@router.get("/endpoints/{name}")
def show(context: Acting, name: str) -> Endpoint:
    return endpoints.show(context, name)


@router.patch("/endpoints/{name}")
def update(context: Acting, name: str, change: EndpointUpdate) -> Endpoint:
    return endpoints.update(context, name, change)


@router.delete("/endpoints/{name}", status_code=202)
def delete(context: Acting, name: str) -> dict[str, str]:
    endpoints.delete(context, name)
    return {"provisioning_state": "Deleting"}


@router.post("/endpoints/{name}/listkeys")
def keys(context: Acting, name: str) -> EndpointKeys:
    return endpoints.keys(context, name)


@router.post("/endpoints/{name}/regeneratekeys")
def regenerate_keys(context: Acting, name: str, body: RegenerateKey) -> EndpointKeys:
    return endpoints.regenerate_key(context, name, body.keyType)


@router.post("/endpoints/{name}/token")
def token(context: Acting, name: str, body: TokenRequest | None = None) -> EndpointToken:
    return endpoint_tokens.issue(context, name, body)
