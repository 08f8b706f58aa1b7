"""/api/flows: what is remembered of flow folders"""

from __future__ import annotations

from fastapi import APIRouter

from phoundry.server.routers.common import Acting
from phoundry.services import flows
from phoundry.specs.flow import FlowSettings

router = APIRouter(prefix="/flows", tags=["flows"])


@router.get("/settings")
def settings(context: Acting, path: str) -> FlowSettings:
    return flows.settings(context, path)


@router.put("/settings")
def remember(context: Acting, chosen: FlowSettings) -> FlowSettings:
    return flows.remember(context, chosen)
