"""Registrations: Registering → Ready or Failed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.errors import Conflict, PhoundryError, WorkerFailed, from_dict
from phoundry.services import bases, models
from phoundry.services.context import Context, now, record
from phoundry.services.reconcile.isolation import each
from phoundry.services.rows import find, get
from phoundry.store.tables import JobRow, ModelRow


def tick(context: Context) -> None:
    """Start registrations, and take in how they ended."""
    each(context, ModelRow, ModelRow.status == "Registering", move=_step, fail=_fail)


def _step(session: Session, context: Context, row: ModelRow) -> None:
    if row.updated_at is None:
        _start(session, context, row)
        return
    state = workers.inspect(models.run_dir(context, row))
    if state.running:
        return
    if state.result is None:
        origin = f"--job {row.job}" if row.job else f"--path {row.tags.get(models.PATH)}"
        raise WorkerFailed(
            f"The process that registered '{row.name}' was killed.",
            remedy=f"Register it again: `phoundry model register {row.name} {origin}`.",
        )
    if state.result["status"] == "cancelled":
        row.updated_at = None  # Phoundry was stopped meanwhile: the next tick starts it again
    elif error := state.result.get("error"):
        raise from_dict(error)
    else:
        _finish(session, context, row, state.result)


def _start(session: Session, context: Context, row: ModelRow) -> None:
    """Start the worker, after those of earlier versions: MLflow numbers them as they come."""
    query = select(ModelRow.id).filter_by(
        workspace=context.workspace, name=row.name, status="Registering"
    )
    if session.scalar(query.where(ModelRow.id < row.id).limit(1)) is not None:
        return
    job = get(session, context, JobRow, row.job, noun="job") if row.job else None
    base = sha256 = None
    if row.base_model:
        base = bases.checkpoint(session, context, row.base_model)
        if base is None:
            return
        sha256 = bases.recorded_sha256(session, context, base)
    spec = models.worker_spec(context, row, job, base, sha256)
    workers.start(models.run_dir(context, row), "phoundry.models.register", spec)
    row.updated_at = now()


def _finish(session: Session, context: Context, row: ModelRow, result: dict[str, Any]) -> None:
    version = int(result["version"])
    present = find(session, context, ModelRow, row.name, version=version, status="Ready")
    if row.job is None and present is not None and present.sha256 == result["sha256"]:
        models.found_again(session, context, row, present)
        return
    _number(session, context, row, version)
    row.status, row.updated_at = "Ready", now()
    row.uri, row.sha256 = result["uri"], result["sha256"]
    row.checkpoint_dir = result["checkpoint_dir"]
    record(session, context, f"model/{row.name}", "ready", f"Version {row.version} is ready.")


def _number(session: Session, context: Context, row: ModelRow, version: int) -> None:
    """Give the row MLflow's number. One that is not ready and has it gets ours instead."""
    present = find(session, context, ModelRow, row.name, version=version)
    if present is not None and present is not row:
        if present.status == "Ready":
            raise Conflict(
                f"MLflow gave '{row.name}' the version {version}, which exists already: its "
                "registry is not the one that was used before.",
                remedy="Put its database back, or register under another name.",
            )
        ours, row.version = row.version, -row.id
        session.flush()  # a number is never held twice, not even for a moment
        present.version = ours
        session.flush()
    row.version = version


def _fail(session: Session, context: Context, row: ModelRow, error: PhoundryError) -> None:
    row.status, row.error, row.updated_at = "Failed", error.to_dict(), now()
    record(session, context, f"model/{row.name}", "failed", str(error))
