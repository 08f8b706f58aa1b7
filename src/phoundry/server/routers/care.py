"""/api/prune"""

from __future__ import annotations

from fastapi import APIRouter, Query

from phoundry.server.routers.common import Acting
from phoundry.services import prune
from phoundry.specs.care import Pruning

router = APIRouter(prefix="/prune", tags=["care"])


@router.get("")
def plan(context: Acting, everything: bool = Query(False)) -> Pruning:
    return prune.plan(context, everything=everything)


@router.post("")
def remove(context: Acting, everything: bool = Query(False)) -> Pruning:
    return prune.prune(context, everything=everything)
