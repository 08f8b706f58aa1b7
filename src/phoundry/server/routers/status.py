"""/api/status and /api/shutdown"""

from __future__ import annotations

from fastapi import APIRouter, Request

from phoundry.errors import Conflict
from phoundry.server.routers.common import Acting
from phoundry.services import status
from phoundry.services.context import authorize
from phoundry.specs.status import Status

router = APIRouter(tags=["status"])


@router.get("/status")
def show(context: Acting, request: Request) -> Status:
    return status.show(context, address=request.app.state.address)


@router.post("/shutdown", status_code=202)
def shutdown(context: Acting, request: Request) -> dict[str, str]:
    authorize(context.principal, "server/shutdown", context.workspace)
    if request.app.state.shutdown is None:
        raise Conflict("No control plane runs on this home.")
    request.app.state.shutdown()
    return {}
