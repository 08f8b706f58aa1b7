"""What jobs tell, told on to MLflow by a worker of its own that never touches the training.

A job that trains is told of now and then, one that has ended or paused at once; one worker at a
time. All there is to remember lies in the folder of a job's teller: what it was asked (spec.json)
and how that ended (result.json). What MLflow has already, the worker asks MLflow.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.errors import NotFound, PhoundryError
from phoundry.files import read_json
from phoundry.services import data
from phoundry.services.context import Context, now
from phoundry.services.reconcile.isolation import each
from phoundry.store.tables import JobRow

MODULE = "phoundry.models.curves"
FIRST_SECONDS = 30.0  # of training, before the run of a job appears
# Between two workers of a job that trains: a minute, and so many times what the last one took, so
# that telling costs at most a fortieth of one core, at the lowest priority.
REST_SECONDS, REST_TIMES = 60.0, 40.0
ATTEMPTS = 3  # to tell of a job at rest; while it trains, the next turn is another attempt
RECENT = 8  # jobs at rest that are looked at: one that has rested for long has been told of
TRAINS = ("Running", "PauseRequested", "CancelRequested")
STATES = {
    **dict.fromkeys(TRAINS, "RUNNING"),
    "Paused": "SCHEDULED",
    "Completed": "FINISHED",
    "Failed": "FAILED",
    "Canceled": "KILLED",
}
TROUBLE = "MLflow could not be told of the curves"


def tick(context: Context) -> None:
    """Start a worker where there is something to tell and none runs."""
    with context.database.begin() as session:
        due = _due(session, context)
    each(context, JobRow, JobRow.id.in_(due), move=_start, fail=_fail)


@dataclass(frozen=True, slots=True)
class _Teller:
    """The worker of one job: what it was asked last, when, and how that ended."""

    run_dir: Path
    state: str  # what MLflow should show
    size: int  # bytes of events that there are to tell
    asked: dict[str, Any]
    result: dict[str, Any]
    age: float  # seconds since it was asked

    @classmethod
    def of(cls, context: Context, row: JobRow) -> _Teller:
        run_dir = context.home.run("curves", row.name)
        asked: dict[str, Any] = read_json(run_dir / "spec.json") or {}
        result: dict[str, Any] = read_json(run_dir / "result.json") or {}
        age = time.time() - float(asked.get("time", 0.0))
        return cls(run_dir, STATES[row.status], _size(_events(row)), asked, result, age)

    @property
    def done(self) -> bool:
        """Whether MLflow knows everything, or there is nothing to know."""
        same = self.asked.get("state") == self.state and self.asked.get("size", 0) >= self.size
        return not self.size or (same and self.result.get("status") == "succeeded")

    @property
    def attempts(self) -> int:
        """How often telling this has failed, or ended without a word."""
        fine = self.result.get("status") in ("succeeded", "cancelled")  # by `phoundry down`
        other = self.asked.get("state") != self.state or self.asked.get("size") != self.size
        return 0 if fine or other else int(self.asked.get("attempt", 0))

    @property
    def rested(self) -> bool:
        return self.age >= max(REST_SECONDS, REST_TIMES * float(self.result.get("seconds", 0.0)))


def _due(session: Session, context: Context) -> list[int]:
    """The job to be told of now: none or one."""
    query = select(JobRow).filter_by(workspace=context.workspace, type="finetuning")
    training = session.scalars(query.where(JobRow.status.in_(TRAINS))).all()
    resting = query.where(JobRow.status.in_(set(STATES) - set(TRAINS)))
    newest = session.scalars(resting.order_by(JobRow.started_at.desc()).limit(RECENT)).all()
    waiting: list[int] = []
    for row in (*training, *newest):
        teller = _Teller.of(context, row)
        if teller.done:
            continue
        if workers.inspect(teller.run_dir).running:
            return []
        if _is_due(row, teller):
            waiting.append(row.id)
    return waiting[:1]


def _is_due(row: JobRow, teller: _Teller) -> bool:
    _say_trouble(row, teller)
    if row.status in TRAINS:
        trained = (now() - row.started_at).total_seconds() if row.started_at else 0.0
        return trained >= FIRST_SECONDS and teller.rested
    return teller.attempts == 0 or (teller.attempts < ATTEMPTS and teller.rested)


def _say_trouble(row: JobRow, teller: _Teller) -> None:
    """Once a job: training goes on whatever MLflow says."""
    failed = teller.result.get("status") == "failed"
    if failed and not any(str(said).startswith(TROUBLE) for said in row.notices):
        reason = teller.result["error"]["message"]
        row.notices = [
            *row.notices,
            f"{TROUBLE}: {reason} `phoundry job show {row.name}` draws them all the same; the log "
            f"is {teller.run_dir / 'log.txt'}.",
        ]


def _start(session: Session, context: Context, row: JobRow) -> None:
    teller = _Teller.of(context, row)
    spec: dict[str, Any] = {
        "job": row.name,
        "events": str(_events(row)),
        "size": teller.size,
        "state": teller.state,
        "time": time.time(),
        "attempt": teller.attempts + 1,
        "tracking_uri": context.home.tracking_uri,
        "artifact_root": str(context.home.mlflow / "artifacts"),
        "tags": _tags(row),
        "parameters": row.parameters,
        "metrics": row.metrics,
        "data": _data(context, row),
        "started": (row.started_at or now()).timestamp(),
        "finished": (row.finished_at or now()).timestamp(),
    }
    workers.start(teller.run_dir, MODULE, spec)


def _fail(session: Session, context: Context, row: JobRow, error: PhoundryError) -> None:
    """A worker could not even be started: said once, and tried again."""
    if not any(str(said).startswith(TROUBLE) for said in row.notices):
        row.notices = [*row.notices, f"{TROUBLE}: {error}"]


def _tags(row: JobRow) -> dict[str, str]:
    """What the run is found by, and the user's own tags."""
    own = {
        "phoundry.base_model": row.spec["model"],
        "phoundry.training_data": row.spec["training_data"],
        "phoundry.validation_data": row.spec.get("validation_data"),
        "mlflow.note.content": row.spec.get("description"),
    }
    tags: dict[str, str] = row.spec.get("tags") or {}
    return {**tags, **{key: str(value) for key, value in own.items() if value}}


def _data(context: Context, row: JobRow) -> dict[str, str] | None:
    """Name and hash of the training data, unless they are deleted meanwhile."""
    try:
        asset = data.show(context, row.spec["training_data"])
    except NotFound:
        return None
    return {"name": f"{asset.name}:{asset.version}", "sha256": asset.sha256}


def _events(row: JobRow) -> Path:
    return Path(row.run_dir) / "events.jsonl"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
