"""One row, one transaction: what goes wrong with a row stops no other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from phoundry.errors import PhoundryError
from phoundry.services.context import Context
from phoundry.services.trouble import explained
from phoundry.store.tables import Base

log = logging.getLogger("phoundry.reconcile")

RowT = TypeVar("RowT", bound=Base)
Move = Callable[[Session, Context, RowT], None]
Fail = Callable[[Session, Context, RowT, PhoundryError], None]


def each(
    context: Context, table: type[RowT], *where: Any, move: Move[RowT], fail: Fail[RowT]
) -> None:
    """Call `move` for every row of `table` that meets `where`, oldest first.

    Where `move` raises, nothing of its transaction stays, and `fail` is called in another one with
    the error, or with what the machine or our own code did wrong (see `trouble`).
    """
    number: Any = getattr(table, "id")  # noqa: B009
    query = select(table).filter_by(workspace=context.workspace).where(*where)
    with context.database.begin() as session:
        found = session.scalars(query.with_only_columns(number).order_by(number))
        ids: list[int] = list(found)

    def apply(key: int, act: Callable[[Session, RowT], None]) -> None:
        with context.database.begin() as session:
            # Asked again: a verb may have changed or deleted it since.
            if row := session.scalars(query.where(number == key)).first():
                act(session, row)

    for key in ids:
        try:
            try:
                apply(key, lambda session, row: move(session, context, row))
            except OperationalError:
                raise
            except Exception as error:
                if not isinstance(error, PhoundryError):
                    log.exception("%s %d could not be moved on", table.__tablename__, key)
                reason = explained(error, context.home)
                apply(key, lambda session, row, reason=reason: fail(session, context, row, reason))
        except OperationalError as error:
            # Locked or full: nothing can be written about it either. The next tick tries again.
            log.warning("%s %d waits: %s", table.__tablename__, key, error.orig)
