"""Journeys: rows that the control plane moves on step by step (`phoundry.journey`)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from phoundry.errors import PhoundryError
from phoundry.services.context import Context, record
from phoundry.services.rows import find, get
from phoundry.specs.journey import Journey, JourneySpec, Step
from phoundry.store.tables import JourneyRow


def start(context: Context, spec: JourneySpec, steps: list[Step]) -> Journey:
    """Begin a journey, or go on with the present one if it is under way with the same spec.

    One that has ended is walked anew: what it made may have been removed since, and a step whose
    thing is there is done at once.
    """
    wanted = spec.model_dump(mode="json")
    with context.begin("journeys/write") as session:
        row = find(session, context, JourneyRow, spec.name)
        if row is None:
            row = JourneyRow(workspace=context.workspace, name=spec.name)
            session.add(row)
        elif row.spec == wanted and row.state == "running":
            return view(row)
        row.spec, row.state, row.error = wanted, "running", None
        row.steps = _dumped(steps)
        session.flush()
        record(session, context, f"journey/{spec.name}", "started", "Started.")
        return view(row)


def listing(context: Context) -> list[Journey]:
    with context.begin("journeys/read") as session:
        query = select(JourneyRow).filter_by(workspace=context.workspace)
        return [view(row) for row in session.scalars(query.order_by(JourneyRow.id.desc()))]


def show(context: Context, name: str) -> Journey:
    with context.begin("journeys/read") as session:
        remedy = "`phoundry up FILE.jsonl` begins one."
        return view(get(session, context, JourneyRow, name, noun="journey", remedy=remedy))


def running(context: Context) -> list[tuple[JourneySpec, list[Step]]]:
    """Every journey that is under way."""
    with context.begin("journeys/read") as session:
        query = select(JourneyRow).filter_by(workspace=context.workspace, state="running")
        return [
            (
                JourneySpec.model_validate(row.spec),
                [Step.model_validate(step) for step in row.steps],
            )
            for row in session.scalars(query.order_by(JourneyRow.id))
        ]


def update(
    context: Context,
    spec: JourneySpec,
    before: list[Step],
    steps: list[Step],
    *,
    error: PhoundryError | None = None,
) -> None:
    """Write how far a journey has come: done when every step is, failed with `error`.

    Nothing is written where it is no longer the journey that was walked, with `spec` and its steps
    as `before`: the user has begun it anew meanwhile.
    """
    name = spec.name
    with context.begin("journeys/write") as session:
        row = get(session, context, JourneyRow, name, noun="journey")
        walked = (spec.model_dump(mode="json"), _dumped(before), "running")
        if (row.spec, row.steps, row.state) != walked:
            return
        row.steps = _dumped(steps)
        row.error = error.to_dict() if error else None
        if error:
            row.state = "failed"
            record(session, context, f"journey/{name}", "failed", str(error))
        elif all(step.state == "done" for step in steps):
            row.state = "done"
            record(session, context, f"journey/{name}", "done", "Arrived.")


def _dumped(steps: list[Step]) -> list[Any]:
    return [step.model_dump(mode="json") for step in steps]


def view(row: JourneyRow) -> Journey:
    return Journey.model_validate(
        {key: getattr(row, key) for key in Journey.model_fields if hasattr(row, key)}
    )
