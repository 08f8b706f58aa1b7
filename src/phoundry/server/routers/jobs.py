"""/api/jobs"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from phoundry.server.routers.common import Acting
from phoundry.services import job_plans, jobs
from phoundry.specs.job import (
    FineTuningJobSpec,
    Job,
    JobCheckpoint,
    LogChunk,
    MetricPoint,
    Planning,
    SampleGeneration,
)

router = APIRouter(tags=["jobs"])


@router.post("/jobs", status_code=201)
def create(context: Acting, spec: FineTuningJobSpec) -> Job:
    return jobs.create(context, spec)


@router.post("/job-plans", status_code=202)
def start_plan(context: Acting, spec: FineTuningJobSpec) -> Planning:
    """Begin to work out what a job would take; ask for the plan by its `name` until it is there."""
    return job_plans.start(context, spec)


@router.get("/job-plans/{name}")
def look_at_plan(context: Acting, name: str) -> Planning:
    return job_plans.look(context, name)


@router.delete("/job-plans/{name}")
def drop_plan(context: Acting, name: str) -> dict[str, str]:
    """Forget a plan. One that is being made is stopped."""
    job_plans.drop(context, name)
    return {}


@router.get("/jobs")
def listing(context: Acting) -> list[Job]:
    return jobs.listing(context)


@router.get("/jobs/{name}")
def show(context: Acting, name: str) -> Job:
    return jobs.show(context, name)


@router.get("/jobs/{name}/logs")
def logs(context: Acting, name: str, offset: Annotated[int, Query(ge=0)] = 0) -> LogChunk:
    return jobs.logs(context, name, offset)


@router.get("/jobs/{name}/metrics")
def metrics(context: Acting, name: str) -> list[MetricPoint]:
    """The curves, an entry a step; of a long run about 2,000 of them."""
    return jobs.metrics(context, name)


@router.get("/jobs/{name}/samples")
def samples(
    context: Acting, name: str, step: Annotated[int | None, Query(ge=0)] = None
) -> list[SampleGeneration]:
    """What the model answered at the newest evaluation, or at the one of `step`."""
    return jobs.samples(context, name, step)


@router.get("/jobs/{name}/checkpoints")
def checkpoints(context: Acting, name: str) -> list[JobCheckpoint]:
    return jobs.checkpoints(context, name)


@router.post("/jobs/{name}/pause")
def pause(context: Acting, name: str) -> Job:
    return jobs.pause(context, name)


@router.post("/jobs/{name}/cancel")
def cancel(context: Acting, name: str) -> Job:
    return jobs.cancel(context, name)


@router.post("/jobs/{name}/resume")
def resume(context: Acting, name: str) -> Job:
    return jobs.resume(context, name)
