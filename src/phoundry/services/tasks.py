"""Shared work with a key: making a base model's checkpoint, converting weights.

Several jobs and deployments may wait for one task; it runs once, and its outcome is kept. A failed
task is tried again when somebody asks for it anew (`retry`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.errors import PhoundryError, WorkerFailed
from phoundry.services.context import Context
from phoundry.specs.base import Preparation
from phoundry.spool import Spool
from phoundry.store.tables import TaskRow


def ensure(
    session: Session, context: Context, key: str, module: str, spec: dict[str, Any]
) -> TaskRow:
    """The task `key`, which is started unless it runs: state `running` or `failed`.

    Asked for by somebody who lacks what it makes: if it succeeded before, that has been removed
    since (caches may be emptied), and it is made again.
    """
    row = present(session, context, key)
    if row is None:
        run_dir = context.home.runs / f"task-{key.replace('/', '-')}"
        row = TaskRow(
            workspace=context.workspace, key=key, module=module, state="new", run_dir=str(run_dir)
        )
        session.add(row)
    if row.state in ("new", "succeeded"):
        workers.start(Path(row.run_dir), module, spec)
        row.state, row.error = "running", None
    return row


def refresh(session: Session, context: Context, row: TaskRow) -> None:
    """Take in how a running task ended, if it has."""
    state = workers.inspect(Path(row.run_dir))
    if state.running:
        return
    if state.result is None:
        killed = WorkerFailed(
            f"The process of '{row.key}' was killed.",
            remedy=f"Its log is {row.run_dir}/log.txt. Try again.",
        )
        fail(session, context, row, killed)
    elif state.result["status"] == "cancelled":
        row.state = "new"  # Phoundry was stopped meanwhile; whoever waits for it starts it again
    else:
        row.state, row.result = state.result["status"], state.result
        row.error = state.result.get("error")


def fail(session: Session, context: Context, row: TaskRow, error: PhoundryError) -> None:
    row.state, row.error = "failed", error.to_dict()


def preparation(session: Session, context: Context, *keys: str) -> Preparation | None:
    """Where those of these tasks that run are, as the one asked for last says."""
    query = select(TaskRow).filter_by(workspace=context.workspace, state="running")
    rows = session.scalars(query.where(TaskRow.key.in_(keys)).order_by(TaskRow.id.desc()))
    return next((found for row in rows if (found := latest(Path(row.run_dir)))), None)


def latest(run_dir: Path) -> Preparation | None:
    """Where the worker of `run_dir` is, from the end of its events.

    Read when somebody looks, and kept nowhere: a download tells its bytes twice a second.
    """
    try:
        # Written at each start; what an earlier worker told has no say any more.
        since = (run_dir / "spec.json").stat().st_mtime
    except FileNotFoundError:
        return None
    event = Spool(run_dir / "events.jsonl").latest("progress", since=since)
    if "file" in event:
        return Preparation.model_validate({"message": f"Downloading {event['file']}", **event})
    return Preparation(message=str(event["message"]).rstrip(".")) if "message" in event else None


def retry(session: Session, context: Context, prefix: str) -> None:
    """Let failed tasks whose key starts with `prefix` run again."""
    query = select(TaskRow).filter_by(workspace=context.workspace, state="failed")
    for row in session.scalars(query.where(TaskRow.key.startswith(prefix))):
        row.state = "new"


def present(session: Session, context: Context, key: str) -> TaskRow | None:
    """The task `key`, in whatever state, or None."""
    query = select(TaskRow).filter_by(workspace=context.workspace, key=key)
    return session.scalars(query).first()
