"""/api/endpoints/{endpoint}/deployments"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from phoundry.errors import Fault, InvalidInput
from phoundry.server.routers.common import Acting
from phoundry.services import deployments
from phoundry.services import parity as gate
from phoundry.specs.deployment import Deployment, DeploymentSpec, DeploymentUpdate
from phoundry.specs.job import LogChunk
from phoundry.specs.parity import Parity

router = APIRouter(prefix="/endpoints/{endpoint}/deployments", tags=["deployments"])


@router.post("", status_code=202)
def create(context: Acting, endpoint: str, spec: DeploymentSpec) -> Deployment:
    if spec.endpoint_name != endpoint:
        raise InvalidInput(
            "The deployment belongs to another endpoint.",
            faults=[Fault("endpoint_name", f"'{spec.endpoint_name}', in the path '{endpoint}'")],
        )
    return deployments.create(context, spec)


@router.get("")
def listing(context: Acting, endpoint: str) -> list[Deployment]:
    return deployments.listing(context, endpoint)


@router.get("/{name}")
def show(context: Acting, endpoint: str, name: str) -> Deployment:
    return deployments.show(context, endpoint, name)


@router.get("/{name}/parity")
def parity(context: Acting, endpoint: str, name: str) -> Parity:
    return gate.show(context, endpoint, name)


@router.get("/{name}/logs")
def logs(
    context: Acting,
    endpoint: str,
    name: str,
    offset: Annotated[int, Query(ge=0)] = 0,
    replica: Annotated[int | None, Query(ge=0)] = None,
) -> LogChunk:
    return deployments.logs(context, endpoint, name, offset, replica=replica)


@router.patch("/{name}")
def update(context: Acting, endpoint: str, name: str, change: DeploymentUpdate) -> Deployment:
    return deployments.update(context, endpoint, name, change)


@router.post("/{name}/rollback", status_code=202)
def roll_back(context: Acting, endpoint: str, name: str) -> Deployment:
    return deployments.roll_back(context, endpoint, name)


@router.post("/{name}/retry", status_code=202)
def retry(context: Acting, endpoint: str, name: str) -> Deployment:
    return deployments.retry(context, endpoint, name)


@router.delete("/{name}", status_code=202)
def delete(context: Acting, endpoint: str, name: str) -> dict[str, str]:
    deployments.delete(context, endpoint, name)
    return {"provisioning_state": "Deleting"}
