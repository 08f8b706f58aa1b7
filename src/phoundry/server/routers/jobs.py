"""/api/jobs"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from fastapi.responses import StreamingResponse
from pydantic import Discriminator, Tag

from phoundry.server.routers.common import Acting
from phoundry.services import job_outputs, job_plans, jobs
from phoundry.specs.batch import BatchJobSpec
from phoundry.specs.job import (
    FineTuningJobSpec,
    Job,
    JobCheckpoint,
    JobFile,
    LogChunk,
    MetricPoint,
    Planning,
    SampleGeneration,
)

router = APIRouter(tags=["jobs"])


def _type(value: Any) -> str:
    """A body that does not say what type of job it is a fine-tune."""
    written = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return "batch" if written == "batch" else "finetuning"


JobSpec = Annotated[
    Annotated[FineTuningJobSpec, Tag("finetuning")] | Annotated[BatchJobSpec, Tag("batch")],
    Discriminator(_type),
]


@router.post("/jobs", status_code=201)
def create(context: Acting, spec: Annotated[JobSpec, Body()]) -> Job:
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


@router.get("/jobs/{name}/outputs")
def outputs(context: Acting, name: str) -> list[JobFile]:
    """The files that the job has made so far."""
    return job_outputs.listing(context, name)


@router.get("/jobs/{name}/outputs/{path:path}")
def output(context: Acting, name: str, path: str) -> StreamingResponse:
    """The bytes of one of them."""
    pieces = job_outputs.read(context, name, path)
    return StreamingResponse(pieces, media_type="application/octet-stream")


@router.post("/jobs/{name}/pause")
def pause(context: Acting, name: str) -> Job:
    return jobs.pause(context, name)


@router.post("/jobs/{name}/cancel")
def cancel(context: Acting, name: str) -> Job:
    return jobs.cancel(context, name)


@router.post("/jobs/{name}/resume")
def resume(context: Acting, name: str) -> Job:
    return jobs.resume(context, name)
