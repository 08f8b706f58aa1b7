"""Jobs: Queued → Preparing → Running → Completed, Failed or Canceled; and Paused in between."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.errors import PhoundryError
from phoundry.services.context import Context, now, record
from phoundry.services.job_kinds import kind_of
from phoundry.services.reconcile.isolation import each
from phoundry.services.reconcile.job_events import finite, take_in
from phoundry.store.tables import JobRow

ACTIVE = ("Preparing", "Running", "PauseRequested", "CancelRequested")
GRACE = timedelta(seconds=30)
_ENDED = {"succeeded": "Completed", "failed": "Failed"}


def tick(context: Context) -> None:
    """Move every job on by one step. One job works at a time: they share the cores."""
    each(context, JobRow, JobRow.status.in_(("Queued", *ACTIVE)), move=_step, fail=_fail)


def pause_all(context: Context) -> None:
    """Stop every running job and queue it again: it goes on from what it has on disk."""
    with context.database.begin() as session:
        query = select(JobRow).filter_by(workspace=context.workspace)
        for row in session.scalars(query.where(JobRow.status.in_(("Preparing", "Running")))):
            workers.terminate(Path(row.run_dir), "pause")
            row.status, row.stopping_since = "Queued", now()
            record(session, context, f"job/{row.name}", "paused", "Phoundry was stopped.")


def _step(session: Session, context: Context, row: JobRow) -> None:
    if row.status == "Queued" and not _busy(session, context):
        row.status = "Preparing"
    if row.status == "Preparing":
        _prepare(session, context, row)
    elif row.status in ACTIVE:
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
    spec = kind_of(row).worker_spec(session, context, row)
    if spec is not None:
        _start(session, context, row, spec)


def _start(session: Session, context: Context, row: JobRow, spec: dict[str, Any]) -> None:
    kind = kind_of(row)
    pid = workers.start(Path(row.run_dir), kind.module, spec)
    row.status, row.started_at, row.stopping_since = "Running", row.started_at or now(), None
    record(session, context, f"job/{row.name}", "started", f"{kind.doing} in process {pid}.")


def _watch(session: Session, context: Context, row: JobRow) -> None:
    run_dir = Path(row.run_dir)
    state = workers.inspect(run_dir)
    take_in(session, context, row)
    if state.running:
        if row.stopping_since and now() - row.stopping_since > GRACE:
            workers.kill(run_dir)
        return
    status = state.result["status"] if state.result else None
    if state.result:
        row.metrics = {**row.metrics, **finite(state.result.get("metrics", {}))}
    if status in ("succeeded", "failed"):
        error = state.result.get("error") if state.result else None
        if error:
            error = kind_of(row).words(context, row).error(error)
        _end(session, context, row, _ENDED[status], error)
    elif row.status == "PauseRequested":
        _pause(session, context, row)
    elif row.status == "CancelRequested":
        _cancel(session, context, row)
    elif status is None:
        _end(session, context, row, "Failed", _ended_early(row, f"{state.pid or ''} was killed"))
    else:  # nobody asked us: a shutdown of the machine, or a signal from outside
        _end(session, context, row, "Failed", _ended_early(row, "was told to end"))


def _pause(session: Session, context: Context, row: JobRow) -> None:
    """The others go on meanwhile: a paused job waits for nothing but to be resumed."""
    row.status, row.stopping_since = "Paused", None
    where = kind_of(row).goes_on(row)
    record(session, context, f"job/{row.name}", "paused", f"Paused; resumed, it {where}.")


def _cancel(session: Session, context: Context, row: JobRow) -> None:
    row.notices = [*row.notices, *kind_of(row).cancelled(row)]
    _end(session, context, row, "Canceled", None)


def _fail(session: Session, context: Context, row: JobRow, error: PhoundryError) -> None:
    workers.terminate(Path(row.run_dir))  # nobody watches it any more
    _end(session, context, row, "Failed", error.to_dict())


def _end(
    session: Session, context: Context, row: JobRow, status: str, error: dict[str, Any] | None
) -> None:
    row.status, row.error, row.finished_at, row.stopping_since = status, error, now(), None
    message = error["message"] if error else f"{status}."
    record(session, context, f"job/{row.name}", status.lower(), message)


def _ended_early(row: JobRow, how: str) -> dict[str, Any]:
    kind = kind_of(row)
    return {
        "code": "WorkerFailed",
        "message": f"The {kind.doing.lower()} process {how} at {kind.place_reached(row)}, by "
        "somebody or by the system, as when memory runs out.",
        "remedy": f"`phoundry job resume {row.name}` {kind.goes_on(row)}.",
    }
