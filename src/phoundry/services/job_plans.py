"""Plans of fine-tunes: a worker lays one out and measures, and whoever asked looks until it has.

A plan is kept until it is dropped, with what was asked for in `request.json` of its folder. There
is no job yet, and none is made.
"""

from __future__ import annotations

import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.errors import NotFound, from_dict
from phoundry.files import read_json, write_json
from phoundry.services import bases, tasks
from phoundry.services.context import Context
from phoundry.services.job_checks import check
from phoundry.services.job_workers import Wording, worker_spec
from phoundry.specs.base import Preparation
from phoundry.specs.job import FineTuningJobSpec, JobPlan, Planning
from phoundry.spool import Spool
from phoundry.store.tables import JobRow, TaskRow

MODULE = "phoundry.training.planner"
KEPT = 20  # plans that nobody dropped; older ones are
_KEY = "plan/"
_REQUEST = "request.json"


def start(context: Context, spec: FineTuningJobSpec) -> Planning:
    """Begin a plan of the job that `spec` would make. Everything is checked as for a job.

    Raises:
        NotFound: the model or the data.
        InvalidInput: the parameters, all faults together.
    """
    found = check(context, spec)
    name = secrets.token_hex(6)
    with context.begin("jobs/plan") as session:
        _forget_old(session, context)
        bases.retry(session, context, spec.model)
        pins = {**found.pins, "model": bases.pinned(session, context, spec.model)}
        job = spec.model_copy(update=pins).model_dump(mode="json", by_alias=True)
        run_dir = context.home.runs / f"task-plan-{name}"
        request = {
            "job": job,
            "parameters": found.parameters.model_dump(mode="json"),
            "sources": dict(found.sources),
            "notices": [*found.notices, *_busy(session, context)],
        }
        write_json(run_dir / _REQUEST, request)
        key = f"{_KEY}{name}"
        session.add(
            TaskRow(
                workspace=context.workspace,
                key=key,
                module=MODULE,
                state="new",
                run_dir=str(run_dir),
            )
        )
    return look(context, name)


def look(context: Context, name: str) -> Planning:
    """How far a plan has come. Its worker is started once the base model is here.

    Raises:
        NotFound: there is no such plan, or it was dropped.
        PhoundryError: why there can be none: the base model or the data cannot be used.
    """
    with context.begin("jobs/plan") as session:
        row = _get(session, context, name)
        run_dir = Path(row.run_dir)
        request: dict[str, Any] = read_json(run_dir / _REQUEST) or {}
        job = request["job"]
        if row.state == "new":
            checkpoint = bases.checkpoint(session, context, job["model"])
            if checkpoint is None:
                getting = bases.preparation(session, context, job["model"])
                return _waiting(name, getting, f"Getting {job['model']}")
            told = (request["parameters"], request["sources"], checkpoint, run_dir)
            tasks.ensure(session, context, row.key, MODULE, worker_spec(context, job, *told))
        if row.state == "succeeded":
            return Planning(name=name, plan=_plan(row, request))
        if row.state == "failed" and row.error:
            raise from_dict(Wording.of(context, run_dir, job).error(row.error))
        return _waiting(name, _latest(run_dir), "Reading the data")


def drop(context: Context, name: str) -> None:
    """Forget a plan; one that is being made is stopped."""
    with context.begin("jobs/plan") as session:
        _drop(session, _get(session, context, name))


def _plan(row: TaskRow, request: dict[str, Any]) -> JobPlan:
    plan = JobPlan.model_validate(row.result["plan"])
    job = request["job"]
    plan.model, plan.training_data = job["model"], job["training_data"]
    plan.notices = list(dict.fromkeys([*request["notices"], *plan.notices]))
    return plan


def _waiting(name: str, preparation: Preparation | None, otherwise: str) -> Planning:
    return Planning(name=name, preparation=preparation or Preparation(message=otherwise))


def _latest(run_dir: Path) -> Preparation | None:
    """What the planner said last; its folder has had no other worker."""
    said = Spool(run_dir / "events.jsonl").latest("notice")
    return Preparation(message=str(said["message"]).rstrip(".")) if said else None


def _busy(session: Session, context: Context) -> list[str]:
    query = select(JobRow.name).filter_by(workspace=context.workspace, status="Running")
    return [
        f"Job {name} trains meanwhile: speed and free memory are what it leaves."
        for name in session.scalars(query)
    ]


def _get(session: Session, context: Context, name: str) -> TaskRow:
    row = tasks.present(session, context, f"{_KEY}{name}")
    if row is None:
        raise NotFound(
            f"There is no plan '{name}', or no longer.",
            remedy="Ask for it again: `phoundry job plan -f FILE`.",
        )
    return row


def _forget_old(session: Session, context: Context) -> None:
    """Drop what clients have left behind that ended without dropping it."""
    query = select(TaskRow).filter_by(workspace=context.workspace)
    plans = query.where(TaskRow.key.startswith(_KEY)).order_by(TaskRow.id.desc())
    for row in session.scalars(plans.offset(KEPT)).all():
        _drop(session, row)


def _drop(session: Session, row: TaskRow) -> None:
    run_dir = Path(row.run_dir)
    # Of one that still runs, the folder is left to `phoundry prune`.
    if not workers.terminate(run_dir):
        with suppress(FileNotFoundError):
            shutil.rmtree(run_dir)
    session.delete(row)
