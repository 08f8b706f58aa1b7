"""Finding one row by name, with the nearest names where there is none."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.errors import NotFound
from phoundry.services.context import Context
from phoundry.store.tables import Base

RowT = TypeVar("RowT", bound=Base)


def find(
    session: Session, context: Context, table: type[RowT], name: str, **also: Any
) -> RowT | None:
    """The newest row of `table` with this name in the workspace, or None."""
    query = select(table).filter_by(workspace=context.workspace, name=name, **also)
    return session.scalars(query.order_by(getattr(table, "id").desc()).limit(1)).first()  # noqa: B009


def get(
    session: Session,
    context: Context,
    table: type[RowT],
    name: str,
    *,
    noun: str,
    remedy: str | None = None,
    **also: Any,
) -> RowT:
    """As `find`. Raises NotFound with the nearest names."""
    row = find(session, context, table, name, **also)
    if row is None:
        raise NotFound.named(noun, name, names(session, context, table, **also), remedy=remedy)
    return row


def names(session: Session, context: Context, table: type[RowT], **also: Any) -> list[str]:
    """All names of `table` in the workspace, without repeats."""
    column = getattr(table, "name")  # noqa: B009
    parents = {key: value for key, value in also.items() if key != "version"}
    query = select(column).filter_by(workspace=context.workspace, **parents).distinct()
    return sorted(session.scalars(query))
