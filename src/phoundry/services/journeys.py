"""Journeys: rows that the control plane moves on step by step (`phoundry.journey`)."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from sqlalchemy import select

from phoundry.errors import Conflict, Fault, InvalidInput, PhoundryError
from phoundry.services.context import Context, record
from phoundry.services.rows import find, get
from phoundry.specs.journey import Journey, JourneySpec, Step
from phoundry.store.tables import JourneyRow


def start(context: Context, spec: JourneySpec, steps: list[Step]) -> Journey:
    """Begin a journey, or go on with the present one if it is under way with the same spec.

    One that has ended is walked anew: what it made may have been removed since, and a step whose
    thing is there is done at once.

    Raises:
        Conflict: it is under way with another spec.
    """
    wanted = spec.stored()
    with context.begin("journeys/write") as session:
        row = find(session, context, JourneyRow, spec.name)
        if row is None:
            row = JourneyRow(workspace=context.workspace, name=spec.name)
            session.add(row)
        elif row.state == "running":
            if _spec(row).stored() == wanted:
                return view(row)
            raise under_way(spec.name)
        row.spec, row.state, row.error = wanted, "running", None
        row.steps = _dumped(steps)
        session.flush()
        record(session, context, f"journey/{spec.name}", "started", "Started.")
        return view(row)


def under_way(name: str) -> Conflict:
    return Conflict(
        f"The journey '{name}' is under way, and with other settings.",
        remedy="Wait until it has ended (the command without the change follows it), or end "
        f"its job (`phoundry job list`, `phoundry job cancel {name}-…`); then try again.",
    )


def present(context: Context, name: str) -> tuple[JourneySpec, Journey] | None:
    """What the journey `name` was told and how far it is, or None."""
    with context.begin("journeys/read") as session:
        row = find(session, context, JourneyRow, name)
        return (_spec(row), view(row)) if row else None


def listing(context: Context) -> list[Journey]:
    with context.begin("journeys/read") as session:
        query = select(JourneyRow).filter_by(workspace=context.workspace)
        return [view(row) for row in session.scalars(query.order_by(JourneyRow.id.desc()))]


def show(context: Context, name: str) -> Journey:
    with context.begin("journeys/read") as session:
        remedy = "`phoundry apply -f FILE.yaml` begins one."
        return view(get(session, context, JourneyRow, name, noun="journey", remedy=remedy))


def running(context: Context) -> list[tuple[JourneySpec, list[Step]]]:
    """Every journey that is under way. One that cannot be read any more ends, and says so."""
    found: list[tuple[JourneySpec, list[Step]]] = []
    with context.begin("journeys/read") as session:
        query = select(JourneyRow).filter_by(workspace=context.workspace, state="running")
        for row in session.scalars(query.order_by(JourneyRow.id)):
            try:
                found.append((_spec(row), [Step.model_validate(step) for step in row.steps]))
            except ValidationError as error:
                row.state, row.error = "failed", _unreadable(row.name, error).to_dict()
    return found


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
        walked = (spec.stored(), _dumped(before), "running")
        if (_spec(row).stored(), row.steps, row.state) != walked:
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


def _unreadable(name: str, error: ValidationError) -> InvalidInput:
    faults = [
        Fault(".".join(str(part) for part in detail["loc"]), str(detail["msg"]))
        for detail in error.errors()
    ]
    return InvalidInput(
        f"The journey '{name}' was begun by another version, which this one cannot go on with.",
        faults=faults,
        remedy="Begin it again: `phoundry apply -f FILE.yaml`, or `phoundry up FILE`.",
    )


def _spec(row: JourneyRow) -> JourneySpec:
    return JourneySpec.model_validate(row.spec)


def view(row: JourneyRow) -> Journey:
    spec = _spec(row)
    own = {key: getattr(row, key) for key in Journey.model_fields if hasattr(row, key)}
    return Journey.model_validate({**own, "endpoint": spec.endpoint, "flow_path": spec.flow_path})
