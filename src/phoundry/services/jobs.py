"""Jobs of every type; what each type has of its own is in `job_kinds`."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.errors import Conflict
from phoundry.models import catalog
from phoundry.services import bases, job_records
from phoundry.services.context import Context, history, now, record
from phoundry.services.job_kinds import KINDS, kind_of, output
from phoundry.services.logs import read_log
from phoundry.services.rows import find, get
from phoundry.specs.batch import BatchJobSpec
from phoundry.specs.job import (
    FINISHED,
    RESTING,
    FineTuningJobSpec,
    Job,
    JobCheckpoint,
    LogChunk,
    MetricPoint,
    SampleGeneration,
)
from phoundry.store.tables import JobRow
from phoundry.worker import StopReason, ask_to_stop

_REMEDY = "`phoundry job list` shows what there is."


def create(context: Context, spec: FineTuningJobSpec | BatchJobSpec) -> Job:
    """Queue a job. Everything that can be known to fail is refused here, before anything starts.

    Raises:
        NotFound: the model or the data.
        InvalidInput: the parameters or the lines of a batch, all faults together.
        InsufficientResources: the training does not fit this machine's memory.
        Conflict: the name is taken.
    """
    with context.begin("jobs/write"):
        pass  # before anything is read
    kind = KINDS[spec.type]
    found = kind.admit(context, spec)
    name = spec.name or f"{_stem(found.model)}-{secrets.token_hex(4)}"
    with context.begin("jobs/write") as session:
        bases.retry(session, context, found.model)
        if find(session, context, JobRow, name):
            raise Conflict(
                f"There is a job '{name}' already.", remedy="Choose another name, or none."
            )
        pins = {**found.pins, "model": bases.pinned(session, context, found.model)}
        row = JobRow(
            workspace=context.workspace,
            name=name,
            type=spec.type,
            status="Queued",
            spec=spec.model_dump(mode="json", by_alias=True) | pins,
            parameters=found.parameters,
            sources=found.sources,
            notices=found.notices,
            run_dir=str(context.home.run("job", name)),
        )
        kind.place(context, row.spec, Path(row.run_dir))
        session.add(row)
        record(session, context, f"job/{name}", "queued", "Queued.")
        session.flush()
        return view(row)


def listing(context: Context) -> list[Job]:
    with context.begin("jobs/read") as session:
        query = select(JobRow).filter_by(workspace=context.workspace)
        rows = session.scalars(query.order_by(JobRow.id.desc())).all()
        return [_watched(session, context, row) for row in rows]


def show(context: Context, name: str) -> Job:
    with context.begin("jobs/read") as session:
        row = _get(session, context, name)
        job = _watched(session, context, row)
        job.events = history(session, context, f"job/{name}")
        return job


def cancel(context: Context, name: str) -> Job:
    """Ask a job to stop for good. One that trains keeps its last checkpoint, and the best state so
    far as its output. A finished job is left as it is."""
    with context.begin("jobs/cancel") as session:
        row = _get(session, context, name)
        if row.status in FINISHED:
            raise Conflict(
                f"Job '{name}' has ended already ({row.status}).",
                remedy=f"See `phoundry job show {name}`.",
            )
        if row.status != "CancelRequested":
            # One that is queued may have a process too, which a stopped Phoundry told to end.
            if _stop(row, "cancel"):
                row.status = "CancelRequested"
            else:
                row.status, row.finished_at, row.stopping_since = "Canceled", now(), None
                row.notices = [*row.notices, *kind_of(row).cancelled(row)]
        record(session, context, f"job/{name}", "cancel", "Cancelling was asked for.")
        return view(row)


def pause(context: Context, name: str) -> Job:
    """Ask a job to stop until it is resumed. One that trains writes a checkpoint first.

    Raises:
        Conflict: the job has ended, is paused already or is being cancelled.
    """
    with context.begin("jobs/pause") as session:
        row = _get(session, context, name)
        if row.status in RESTING or row.status == "CancelRequested":
            way = "resume" if row.status == "Paused" else "show"
            raise Conflict(
                f"Job '{name}' is {row.status}; only one that waits or runs can be paused.",
                remedy=f"See `phoundry job {way} {name}`.",
            )
        if row.status != "PauseRequested":
            if _stop(row, "pause"):
                row.status = "PauseRequested"
            else:
                row.status, row.stopping_since = "Paused", None
        record(session, context, f"job/{name}", "pause", "Pausing was asked for.")
        return view(row)


def _stop(row: JobRow, reason: StopReason) -> bool:
    """Tell the job's process to end. False if it has none, and none that is yet to be looked at.

    One that was told already gets no second signal, which could cut into what it writes: only the
    reason changes, for one that has not read it yet.
    """
    folder = Path(row.run_dir)
    if row.stopping_since is not None and workers.inspect(folder).running:
        ask_to_stop(folder, reason)
        return True
    if workers.terminate(folder, reason) or row.status in ("Running", "PauseRequested"):
        row.stopping_since = now()
        return True
    return False


def resume(context: Context, name: str) -> Job:
    """Queue a paused or ended job again; it goes on from its last checkpoint, or line.

    Raises:
        Conflict: the job is completed or has not ended.
        NotFound: its data were deleted, and the rows with them.
    """
    with context.begin("jobs/write") as session:
        row = _get(session, context, name)
        if row.status not in ("Failed", "Canceled", "Paused"):
            look = f"`phoundry job show {name}`"
            ending = row.status in ("PauseRequested", "CancelRequested")
            raise Conflict(
                f"Job '{name}' is {row.status}; only a paused, failed or cancelled one can be "
                "resumed.",
                remedy=f"It writes a checkpoint first; resume it when {look} says that it has."
                if ending
                else f"See {look}.",
            )
        folder = Path(row.run_dir)
        kind_of(row).revive(session, context, row)
        # One that failed for another reason may still be writing; nobody starts it before it ends.
        ending = now() if workers.inspect(folder).running else None
        (folder / "result.json").unlink(missing_ok=True)
        row.status, row.error, row.finished_at, row.stopping_since = "Queued", None, None, ending
        record(session, context, f"job/{name}", "resumed", "Queued again.")
        return view(row)


def logs(context: Context, name: str, offset: int = 0) -> LogChunk:
    """What the job's process wrote, from byte `offset` on."""
    job = show(context, name)
    finished = job.status in RESTING
    return read_log(Path(job.run_dir) / "log.txt", offset, finished=finished)


def metrics(context: Context, name: str) -> list[MetricPoint]:
    """The job's curves: an entry for each step that it told of, about 2,000 at most."""
    return job_records.curves(_run_dir(context, name))


def samples(context: Context, name: str, step: int | None = None) -> list[SampleGeneration]:
    """What the model answered at the newest evaluation, or at the one of `step`."""
    return job_records.samples(_run_dir(context, name), step)


def checkpoints(context: Context, name: str) -> list[JobCheckpoint]:
    """What the job can go on from, oldest first."""
    return job_records.checkpoints(_run_dir(context, name))


def view(row: JobRow) -> Job:
    spec = row.spec
    own = {key: getattr(row, key) for key in Job.model_fields if hasattr(row, key)}
    choices: list[dict[str, Any]] = row.progress.get("choices", [])
    if row.status in FINISHED:  # it stopped early, or was stopped
        own["progress"] = {**row.progress, "seconds_left": None}
    parameters, sources = dict(row.parameters), dict(row.sources)
    for choice in choices:  # measured by the worker; the row keeps what it was told
        name = choice["name"]
        if name in parameters and choice["measured"] and sources.get(name) != "user":
            parameters[name], sources[name] = choice["value"], "measured"
    return Job.model_validate(
        {
            **own,
            "parameters": parameters,
            "sources": sources,
            "choices": choices,
            "model": spec["model"],
            "training_data": spec.get("training_data", ""),
            "validation_data": spec.get("validation_data"),
            "input": spec.get("input", ""),
            "endpoint": spec.get("endpoint"),
            "output": str(made) if (made := output(row)) else None,
            "display_name": spec.get("display_name", ""),
            "tags": spec.get("tags", {}),
        }
    )


def _get(session: Session, context: Context, name: str) -> JobRow:
    return get(session, context, JobRow, name, noun="job", remedy=_REMEDY)


def _run_dir(context: Context, name: str) -> Path:
    with context.begin("jobs/read") as session:
        return Path(_get(session, context, name).run_dir)


def _watched(session: Session, context: Context, row: JobRow) -> Job:
    """As `view`, with how far the base model has come that the job waits for."""
    job = view(row)
    if row.status == "Preparing":
        job.preparation = bases.preparation(session, context, row.spec["model"])
    return job


def _stem(model: str) -> str:
    """The beginning of a name for a job that got none."""
    entry = catalog.find(model) if "://" in model else None
    if entry is not None:  # an address ends in a version or a branch
        return entry.name
    stem = Path(model.removeprefix("models:/")).name.split(":")[0].lower()
    return "".join(char if char.isalnum() else "-" for char in stem).strip("-")[:40] or "job"
