"""The deploy gate: pending → passed | failed, by a worker that compares with the trained model.

It starts once a replica of the newest revision answers. What passed before, in whatever deployment,
passes at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.errors import PhoundryError, Unavailable, WorkerFailed
from phoundry.files import read_json
from phoundry.services import parity, replicas
from phoundry.services.context import Context
from phoundry.services.deployment_rows import note
from phoundry.services.parity import Subject
from phoundry.services.reconcile.isolation import each
from phoundry.specs.parity import ParityReport
from phoundry.store.tables import DeploymentRow

ATTEMPTS = 3  # of a worker that was killed, or whose replica went away
MODULE = "phoundry.serving.parity"


def tick(context: Context) -> None:
    """Move every gate that is pending on by one step. One proves at a time."""
    each(
        context,
        DeploymentRow,
        DeploymentRow.gate == "pending",
        DeploymentRow.state != "Deleting",
        move=_step,
        fail=_stumble,
    )


def _step(session: Session, context: Context, row: DeploymentRow) -> None:
    ready = replicas.ready(session, context, row)
    subject = parity.subject(session, context, row, ready[0]) if ready else None
    if subject is None:
        return  # nothing answers that could be asked
    if (report := parity.remembered(context.home, subject.key)) is not None:
        _take(session, context, row, report)
        return
    folder = parity.run_dir(context, row)
    worker = workers.inspect(folder)
    told: dict[str, Any] = read_json(folder / "spec.json") or {}
    if told.get("key") != subject.key:
        if worker.running:
            workers.kill(folder)  # it proves what is no longer asked
        elif not _busy(session, context, row):
            _start(folder, subject, attempt=1)
    elif not worker.running:
        _end(session, context, row, subject, worker.result, int(told.get("attempt", 1)))


def _busy(session: Session, context: Context, row: DeploymentRow) -> bool:
    """Whether another one is being proved: each takes all cores, and a reference's memory."""
    pending = select(DeploymentRow).filter_by(workspace=context.workspace, gate="pending")
    others = session.scalars(pending.where(DeploymentRow.id != row.id))
    return any(workers.inspect(parity.run_dir(context, other)).running for other in others)


def _start(folder: Path, subject: Subject, *, attempt: int) -> None:
    workers.start(folder, MODULE, {**subject.spec, "attempt": attempt})


def _end(
    session: Session,
    context: Context,
    row: DeploymentRow,
    subject: Subject,
    result: dict[str, Any] | None,
    attempt: int,
) -> None:
    """Take in how the worker ended."""
    folder = parity.run_dir(context, row)
    if result is not None and result["status"] == "succeeded":
        report = ParityReport.model_validate(result["report"])
        parity.remember(context.home, subject.key, report)
        _take(session, context, row, report)
        return
    if result is not None and result["status"] == "cancelled":
        _start(folder, subject, attempt=attempt)  # Phoundry was stopped meanwhile
        return
    killed = WorkerFailed(
        "The process of the deploy gate was killed.", remedy=f"Its log is {folder}/log.txt."
    )
    error = killed.to_dict() if result is None else result["error"]
    if error["code"] in (WorkerFailed.code, Unavailable.code) and attempt < ATTEMPTS:
        _start(folder, subject, attempt=attempt + 1)
        return
    _fail(session, context, row, error["message"], {"error": error})


def _take(session: Session, context: Context, row: DeploymentRow, report: ParityReport) -> None:
    found = {"report": report.model_dump(mode="json")}
    if not report.passed:
        first = report.differences[0]
        _fail(session, context, row, f"{report.summary()}. First: {first.lines()[0]}", found)
        return
    row.gate, row.parity = "passed", {**found, "revision": row.revision}
    note(session, context, row, "gate", f"Passed the deploy gate: {report.summary()}.")
    parity.open_first(session, context, row)


def _fail(
    session: Session, context: Context, row: DeploymentRow, text: str, found: dict[str, Any]
) -> None:
    row.gate, row.parity = "failed", {**found, "revision": row.revision}
    note(session, context, row, "gate_failed", f"Did not pass the deploy gate: {text}")


def _stumble(session: Session, context: Context, row: DeploymentRow, error: PhoundryError) -> None:
    _fail(session, context, row, error.message, {"error": error.to_dict()})
