"""/api/jobs"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from phoundry.server.routers.common import Acting
from phoundry.services import jobs
from phoundry.specs.job import FineTuningJobSpec, Job, LogChunk

router = APIRouter(tags=["jobs"])


@router.post("/jobs", status_code=201)
def create(context: Acting, spec: FineTuningJobSpec) -> Job:
    return jobs.create(context, spec)


@router.get("/jobs")
def listing(context: Acting) -> list[Job]:
    return jobs.listing(context)


@router.get("/jobs/{name}")
def show(context: Acting, name: str) -> Job:
    return jobs.show(context, name)


@router.get("/jobs/{name}/logs")
def logs(context: Acting, name: str, offset: Annotated[int, Query(ge=0)] = 0) -> LogChunk:
    return jobs.logs(context, name, offset)


@router.post("/jobs/{name}/cancel")
def cancel(context: Acting, name: str) -> Job:
    return jobs.cancel(context, name)


@router.post("/jobs/{name}/resume")
def resume(context: Acting, name: str) -> Job:
    return jobs.resume(context, name)
