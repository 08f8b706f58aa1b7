"""How soon the next tick is due, and which workers' folders may call it earlier."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.services import models, parity
from phoundry.services.context import Context
from phoundry.specs.job import RESTING
from phoundry.store.tables import (
    DeploymentRow,
    EndpointRow,
    JobRow,
    JourneyRow,
    ModelRow,
    ReplicaRow,
    TaskRow,
)

_SETTLED = ("ready", "unready", "failed")
_MOVING = ("Creating", "Updating", "Deleting")


@dataclass(frozen=True, slots=True)
class Pace:
    """What the rows say of the next tick.

    `under_way`: something is unfinished. `drains`: a replica is being taken out, of which no
    folder tells when its last request is answered. `folders`: of the workers that are at work.
    """

    under_way: bool
    drains: bool
    folders: tuple[Path, ...]


def of(context: Context) -> Pace:
    """The pace of this home, in one transaction."""
    with context.begin("status/read") as session:
        states = select(ReplicaRow.state).filter_by(workspace=context.workspace)
        replicas = set(session.scalars(states))
        under_way = not replicas.issubset(_SETTLED) or _unfinished(session)
        folders = tuple(_folders(session, context))
    return Pace(under_way, "draining" in replicas, folders)


def _unfinished(session: Session) -> bool:
    """Whether a row other than a replica's waits for the reconciler."""
    queries = [
        select(JobRow.id).where(JobRow.status.not_in(RESTING)),
        select(TaskRow.id).filter_by(state="running"),
        select(ModelRow.id).filter_by(status="Registering"),
        select(DeploymentRow.id).where(DeploymentRow.state.in_(_MOVING)),
        select(DeploymentRow.id).filter_by(gate="pending", state="Succeeded"),
        select(EndpointRow.id).filter_by(state="Deleting"),
        select(JourneyRow.id).filter_by(state="running"),
    ]
    return any(session.scalar(query.limit(1)) is not None for query in queries)


def _folders(session: Session, context: Context) -> Iterator[Path]:
    yield context.home.routes.parent
    at_work = [
        select(JobRow.run_dir).where(JobRow.status.not_in((*RESTING, "Queued"))),
        select(TaskRow.run_dir).filter_by(state="running"),
        select(ReplicaRow.run_dir).where(ReplicaRow.state != "failed"),
    ]
    for query in at_work:
        yield from map(Path, session.scalars(query))
    for model in session.scalars(select(ModelRow).filter_by(status="Registering")):
        yield models.run_dir(context, model)
    for row in session.scalars(select(DeploymentRow).filter_by(gate="pending")):
        yield parity.run_dir(context, row)
