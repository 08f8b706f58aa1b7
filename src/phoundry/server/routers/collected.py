"""/api/endpoints/{endpoint}/deployments/{name}/data"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from phoundry.server.routers.common import Acting
from phoundry.services import collected
from phoundry.specs.collection import CollectedPage

router = APIRouter(prefix="/endpoints/{endpoint}/deployments/{name}/data", tags=["deployments"])


@router.get("")
def page(
    context: Acting,
    endpoint: str,
    name: str,
    since: Annotated[datetime | None, Query(description="None that came before it")] = None,
    after: Annotated[str, Query(description="`next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = collected.PAGE,
    settled: Annotated[bool, Query(description="For who goes on from page to page")] = False,
) -> CollectedPage:
    """What the deployment was asked and answered, as its `data_collector` kept it."""
    return collected.page(
        context, endpoint, name, since=since, after=after, limit=limit, settled=settled
    )
