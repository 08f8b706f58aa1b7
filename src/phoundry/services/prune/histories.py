"""Old events: of each resource the newest stay, and all of the last months."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from phoundry.services import endpoint_tokens
from phoundry.services.context import Context, now
from phoundry.specs.care import Prunable
from phoundry.store.tables import EventRow

KIND = "events"
KEPT = 200  # of each resource: as many as are ever shown
MAX_AGE = timedelta(days=90)
_ROW_BYTES = 200  # about; rows free space inside the database, which is used again


def old(session: Session) -> Iterator[Prunable]:
    query = select(func.count()).select_from(_old().subquery())
    if count := session.scalar(query) or 0:
        why = f"older than {MAX_AGE.days} days, beyond the newest {KEPT} of their resource"
        yield Prunable(kind=KIND, name=f"{count:,} events", bytes=count * _ROW_BYTES, why=why)


def forget(session: Session) -> int:
    """Delete old events; returns how many."""
    ids = list(session.scalars(_old()))
    for start in range(0, len(ids), 500):  # SQLite bounds the variables of a statement
        session.execute(delete(EventRow).where(EventRow.id.in_(ids[start : start + 500])))
    return len(ids)


def tick(context: Context) -> int:
    """For the control plane, now and then while nothing is under way. Tokens that have ended go
    with the events: their endpoint may never be asked for another."""
    with context.database.begin() as session:
        endpoint_tokens.forget_expired(session)
        cheap = select(EventRow.id).where(EventRow.created_at < now() - MAX_AGE)
        return forget(session) if session.scalar(cheap.limit(1)) is not None else 0


def _old() -> Any:
    place = func.row_number().over(
        partition_by=(EventRow.workspace, EventRow.resource), order_by=EventRow.id.desc()
    )
    numbered = select(EventRow.id, EventRow.created_at, place.label("place")).subquery()
    late = numbered.c.created_at < now() - MAX_AGE
    return select(numbered.c.id).where(late, numbered.c.place > KEPT)
