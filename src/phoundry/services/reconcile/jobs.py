"""Jobs: Queued → Preparing → Running → Completed, Failed or Canceled."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.errors import PhoundryError
from phoundry.services import bases, data
from phoundry.services.context import Context, now, record
from phoundry.services.reconcile.isolation import each
from phoundry.specs.job import Progress
from phoundry.spool import Spool
from phoundry.store.tables import JobRow

ACTIVE = ("Preparing", "Running", "CancelRequested")
GRACE = timedelta(seconds=30)
_ENDED = {"succeeded": "Completed", "failed": "Failed", "cancelled": "Canceled"}


def tick(context: Context) -> None:
    """Move every job on by one step. One job trains at a time: they share the cores."""
    each(context, JobRow, JobRow.status.in_(("Queued", *ACTIVE)), move=_step, fail=_fail)


def pause_all(context: Context) -> None:
    """Stop every running job and queue it again: it goes on from its last checkpoint."""
    with context.database.begin() as session:
        query = select(JobRow).filter_by(workspace=context.workspace)
        for row in session.scalars(query.where(JobRow.status.in_(("Preparing", "Running")))):
            workers.terminate(Path(row.run_dir))
            row.status, row.stopping_since = "Queued", now()
            record(session, context, f"job/{row.name}", "paused", "Phoundry was stopped.")


def _step(session: Session, context: Context, row: JobRow) -> None:
    if row.status == "Queued" and not _busy(session, context):
        row.status = "Preparing"
    if row.status == "Preparing":
        _prepare(session, context, row)
    elif row.status in ("Running", "CancelRequested"):
        _watch(session, context, row)


def _busy(session: Session, context: Context) -> bool:
    query = select(JobRow.id).filter_by(workspace=context.workspace)
    return session.scalar(query.where(JobRow.status.in_(ACTIVE)).limit(1)) is not None


def _prepare(session: Session, context: Context, row: JobRow) -> None:
    """Start the job once its model is there, unless its worker was started already.

    That one was started by a control plane that was killed before it could write so (adopt it), or
    it was asked to stop by one that did not live to see it stop (wait, then start it again).
    """
    run_dir = Path(row.run_dir)
    state = workers.inspect(run_dir)
    if state.running and row.stopping_since:
        if now() - row.stopping_since > GRACE:
            workers.kill(run_dir)
        return
    ended = state.result is not None and state.result["status"] != "cancelled"
    if state.running or ended:
        row.status, row.started_at = "Running", row.started_at or now()
        return
    checkpoint = bases.checkpoint(session, context, row.spec["model"])
    if checkpoint is not None:
        _start(session, context, row, checkpoint)


def _start(session: Session, context: Context, row: JobRow, checkpoint: Path) -> None:
    train = data.show(context, row.spec["training_data"])
    chosen = row.spec.get("validation_data")
    if chosen:
        validation = data.split_path(context, data.show(context, chosen), "train")
    else:
        validation = data.split_path(context, train, "test")
    spec: dict[str, Any] = {
        "checkpoint_dir": str(checkpoint),
        "train_path": str(data.split_path(context, train, "train")),
        "validation_path": str(validation) if validation else None,
        "parameters": row.parameters,
        "sources": row.sources,
        "cache_dir": str(context.home.cache),
    }
    pid = workers.start(Path(row.run_dir), "phoundry.training", spec)
    row.status, row.started_at, row.stopping_since = "Running", row.started_at or now(), None
    record(session, context, f"job/{row.name}", "started", f"Training in process {pid}.")


def _watch(session: Session, context: Context, row: JobRow) -> None:
    run_dir = Path(row.run_dir)
    state = workers.inspect(run_dir)
    _take_in(session, context, row, run_dir)
    if state.running:
        if row.stopping_since and now() - row.stopping_since > GRACE:
            workers.kill(run_dir)
        return
    if state.result is None and row.status == "CancelRequested":
        _end(session, context, row, "Canceled", None)
    elif state.result is None:
        _end(session, context, row, "Failed", _ended_early(row, f"{state.pid or ''} was killed"))
    elif state.result["status"] == "cancelled" and row.status != "CancelRequested":
        # Nobody asked us: a shutdown of the machine, or a signal from outside.
        _end(session, context, row, "Failed", _ended_early(row, "was told to end"))
    else:
        row.metrics = {**row.metrics, **_finite(state.result.get("metrics", {}))}
        error = state.result.get("error")
        _end(session, context, row, _ENDED[state.result["status"]], error)


def _take_in(session: Session, context: Context, row: JobRow, run_dir: Path) -> None:
    """Add the worker's new events to the row. The offset moves in the same transaction."""
    events, row.spool_offset = Spool(run_dir / "events.jsonl").read(row.spool_offset)
    progress = dict(row.progress)
    for event in events:
        fields = {key: value for key, value in event.items() if key not in ("time", "kind")}
        if event["kind"] == "notice":
            row.notices = [*row.notices, fields.get("message", "")]
            continue
        progress.update({key: fields[key] for key in Progress.model_fields if key in fields})
        if event["kind"] == "evaluated":
            evaluated = _finite({"eval_loss": fields.get("eval_loss")})
            first = {f"first_{name}": loss for name, loss in evaluated.items()}
            row.metrics = {**first, **row.metrics, **evaluated}
        if event["kind"] != "progress":
            message = str(fields.pop("message", ""))
            record(session, context, f"job/{row.name}", event["kind"], message, **fields)
    if events:
        row.progress = progress


def _finite(metrics: dict[str, Any]) -> dict[str, float]:
    """Those that are numbers: a training that diverged measures NaN, which JSON has not."""
    found = {name: float(value) for name, value in metrics.items() if value is not None}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _fail(session: Session, context: Context, row: JobRow, error: PhoundryError) -> None:
    workers.terminate(Path(row.run_dir))  # nobody watches it any more
    _end(session, context, row, "Failed", error.to_dict())


def _end(
    session: Session, context: Context, row: JobRow, status: str, error: dict[str, Any] | None
) -> None:
    row.status, row.error, row.finished_at = status, error, now()
    message = error["message"] if error else f"{status}."
    record(session, context, f"job/{row.name}", status.lower(), message)


def _ended_early(row: JobRow, how: str) -> dict[str, Any]:
    step = row.progress.get("step", 0)
    return {
        "code": "WorkerFailed",
        "message": f"The training process {how} at step {step}, by somebody or by "
        "the system, as when memory runs out.",
        "remedy": f"`phoundry job resume {row.name}` goes on from its last checkpoint.",
    }
