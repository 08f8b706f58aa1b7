"""What a training worker tells, taken into its job's row, which stays of one size."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from phoundry.services.context import Context, record
from phoundry.specs.job import Choice, MetricPoint, Progress
from phoundry.spool import Spool
from phoundry.store.tables import EventRow, JobRow

MOST_NOTICES = 100
MOST_EVALUATIONS = 100  # in a job's history; the curves have all
_EVALUATION = tuple(name for name in MetricPoint.model_fields if name.startswith("eval_"))
_METRICS = {"loss": "eval_loss", "f1": "eval_f1", "exact": "eval_exact"}

Fields = dict[str, Any]


def take_in(session: Session, context: Context, row: JobRow) -> None:
    """Add the worker's new events to the row. The offset moves in the same transaction."""
    events, row.spool_offset = Spool(Path(row.run_dir) / "events.jsonl").read(row.spool_offset)
    if not events:
        return
    row.progress = dict(row.progress)  # a changed copy: what is changed in place is not written
    for event in events:
        fields = {key: value for key, value in event.items() if key not in ("time", "kind")}
        known = {key: fields[key] for key in Progress.model_fields if key in fields}
        row.progress.update(known)
        _TAKERS.get(event["kind"], _other)(session, context, row, event["kind"], fields)
    if any(event["kind"] == "evaluated" for event in events):
        _forget_old(session, context, row, "evaluated", MOST_EVALUATIONS)


def finite(metrics: dict[str, Any]) -> dict[str, float]:
    """Those that are numbers: a training that diverged measures NaN, which JSON has not."""
    found = {name: float(value) for name, value in metrics.items() if value is not None}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _curve(session: Session, context: Context, row: JobRow, kind: str, fields: Fields) -> None:
    """Of many: they stay in the worker's file, where curves and samples are read."""


def _other(session: Session, context: Context, row: JobRow, kind: str, fields: Fields) -> None:
    message = str(fields.pop("message", ""))
    record(session, context, f"job/{row.name}", kind, message, **fields)


def _notice(session: Session, context: Context, row: JobRow, kind: str, fields: Fields) -> None:
    message = str(fields.get("message", ""))
    if message not in row.notices and len(row.notices) < MOST_NOTICES:
        row.notices = [*row.notices, message]


def _stopped_early(
    session: Session, context: Context, row: JobRow, kind: str, fields: Fields
) -> None:
    _notice(session, context, row, kind, fields)
    _other(session, context, row, kind, fields)


def _evaluated(session: Session, context: Context, row: JobRow, kind: str, fields: Fields) -> None:
    measured = finite({name: fields.get(name) for name in _EVALUATION})
    first = {f"first_{name}": value for name, value in measured.items()}
    row.metrics = {**first, **row.metrics, **measured}
    if fields.get("best"):
        chosen = _METRICS.get(str(row.parameters.get("metric_for_best_model")), "eval_loss")
        best = {"best_step": fields.get("step"), "best_metric": measured.get(chosen)}
        row.progress.update({name: value for name, value in best.items() if value is not None})
    _other(session, context, row, kind, fields)


def _choice(session: Session, context: Context, row: JobRow, kind: str, fields: Fields) -> None:
    """The choices of the newest start; a resumed run tells those of its plan again."""
    choice = Choice.model_validate(fields).model_dump(mode="json")
    known: list[Any] = row.progress.get("choices", [])
    others = [each for each in known if each["name"] != choice["name"]]
    row.progress["choices"] = [*others, choice]
    if choice not in known:
        record(session, context, f"job/{row.name}", kind, f"{choice['name']} = {choice['value']}")


def _forget_old(session: Session, context: Context, row: JobRow, kind: str, keep: int) -> None:
    ours = (
        EventRow.workspace == context.workspace,
        EventRow.resource == f"job/{row.name}",
        EventRow.kind == kind,
    )
    session.flush()
    newest = select(EventRow.id).where(*ours).order_by(EventRow.id.desc()).limit(1).offset(keep)
    if (oldest := session.scalar(newest)) is not None:
        session.execute(delete(EventRow).where(*ours, EventRow.id <= oldest))


_TAKERS: dict[str, Callable[[Session, Context, JobRow, str, Fields], None]] = {
    "progress": _curve,
    "sample": _curve,
    "checkpoint": _curve,  # every half minute; `job checkpoints` lists those that are there
    "notice": _notice,
    "stopped_early": _stopped_early,
    "evaluated": _evaluated,
    "choice": _choice,
}
