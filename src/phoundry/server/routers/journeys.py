"""/api/journeys"""

from __future__ import annotations

from fastapi import APIRouter

from phoundry.journey import journeys as walk
from phoundry.server.routers.common import Acting
from phoundry.services import journeys
from phoundry.specs.journey import Journey, JourneySpec

router = APIRouter(prefix="/journeys", tags=["journeys"])


@router.post("", status_code=201)
def start(context: Acting, spec: JourneySpec) -> Journey:
    return walk.start(context, spec)


@router.get("")
def listing(context: Acting) -> list[Journey]:
    return journeys.listing(context)


@router.get("/{name}")
def show(context: Acting, name: str) -> Journey:
    return journeys.show(context, name)
