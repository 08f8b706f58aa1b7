"""What a job's worker tells, taken into its job's row, which stays of one size."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from phoundry.services.context import Context, record
from phoundry.services.job_kinds import kind_of
from phoundry.services.job_workers import Wording
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
    if events:
        _Taking(session, context, row).take(events)


def finite(metrics: dict[str, Any]) -> dict[str, float]:
    """Those that are numbers: a training that diverged measures NaN, which JSON has not."""
    found = {name: float(value) for name, value in metrics.items() if value is not None}
    return {name: value for name, value in found.items() if math.isfinite(value)}


class _Taking:
    """`progress` becomes the row's at the end: what is changed in place there is not written."""

    def __init__(self, session: Session, context: Context, row: JobRow) -> None:
        self.session, self.context, self.row = session, context, row
        self.progress = dict(row.progress)
        self.takers: dict[str, Callable[[str, Fields], None]] = {
            "progress": _stays,
            "sample": _stays,
            "checkpoint": _stays,  # every half minute; `job checkpoints` lists those there are
            "notice": self.notice,
            "stopped_early": self.stopped_early,
            "evaluated": self.evaluated,
            "choice": self.choice,
        }

    @cached_property
    def words(self) -> Wording:
        return kind_of(self.row).words(self.context, self.row)

    def take(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            fields = {key: value for key, value in event.items() if key not in ("time", "kind")}
            known = {key: fields[key] for key in Progress.model_fields if key in fields}
            self.progress.update(known)
            self.takers.get(event["kind"], self.history)(event["kind"], fields)
        self.row.progress = self.progress
        if any(event["kind"] == "evaluated" for event in events):
            self.forget_old("evaluated", MOST_EVALUATIONS)

    def history(self, kind: str, fields: Fields) -> None:
        message = self.words.text(str(fields.pop("message", "")))
        record(self.session, self.context, f"job/{self.row.name}", kind, message, **fields)

    def notice(self, kind: str, fields: Fields) -> None:
        message = self.words.text(str(fields.get("message", "")))
        if message not in self.row.notices and len(self.row.notices) < MOST_NOTICES:
            self.row.notices = [*self.row.notices, message]

    def stopped_early(self, kind: str, fields: Fields) -> None:
        self.notice(kind, fields)
        self.history(kind, fields)

    def evaluated(self, kind: str, fields: Fields) -> None:
        measured = finite({name: fields.get(name) for name in _EVALUATION})
        first = {f"first_{name}": value for name, value in measured.items()}
        self.row.metrics = {**first, **self.row.metrics, **measured}
        if fields.get("best"):
            chosen = _METRICS.get(str(self.row.parameters.get("metric_for_best_model")))
            best = {"best_step": fields.get("step"), "best_metric": measured.get(chosen or "")}
            self.progress.update({name: value for name, value in best.items() if value is not None})
        self.history(kind, fields)

    def choice(self, kind: str, fields: Fields) -> None:
        """Those of the newest start; a run that goes on tells those of its plan again."""
        choice = Choice.model_validate(fields).model_dump(mode="json")
        known: list[Any] = self.progress.get("choices", [])
        others = [each for each in known if each["name"] != choice["name"]]
        self.progress["choices"] = [*others, choice]
        if choice not in known:
            self.history(kind, {"message": f"{choice['name']} = {choice['value']}"})

    def forget_old(self, kind: str, keep: int) -> None:
        """Keep the newest `keep` events of a kind in the job's history."""
        ours = (
            EventRow.workspace == self.context.workspace,
            EventRow.resource == f"job/{self.row.name}",
            EventRow.kind == kind,
        )
        newest = select(EventRow.id).where(*ours).order_by(EventRow.id.desc())
        if (oldest := self.session.scalar(newest.limit(1).offset(keep))) is not None:
            self.session.execute(delete(EventRow).where(*ours, EventRow.id <= oldest))


def _stays(kind: str, fields: Fields) -> None:
    """Of many: they stay in the worker's file, where curves and samples are read."""
