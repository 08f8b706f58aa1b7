"""/api/endpoints"""

from __future__ import annotations

from fastapi import APIRouter

from phoundry.server.routers.common import Acting
from phoundry.services import endpoints
from phoundry.specs.base import Spec
from phoundry.specs.endpoint import Endpoint, EndpointKeys, EndpointSpec, KeyType, TrafficUpdate

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
def update(context: Acting, name: str, change: TrafficUpdate) -> Endpoint:
    return endpoints.update_traffic(context, name, change.traffic)


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
