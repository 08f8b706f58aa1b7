"""What every verb of a service gets: the store, who acts, and where."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.errors import Forbidden
from phoundry.settings import Home
from phoundry.specs.base import Event
from phoundry.store.blobs import Blobs
from phoundry.store.database import Database
from phoundry.store.tables import EventRow
from phoundry.store.vault import Vault


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts. `actions` are patterns such as `jobs/*`; the owner of a home has `*`."""

    name: str
    actions: frozenset[str] = frozenset()


OWNER = Principal("owner", frozenset({"*"}))
NOBODY = Principal("nobody")


def authorize(principal: Principal, action: str, scope: str) -> None:
    """The one door. `action` is `noun/verb`, `scope` the workspace.

    Raises:
        Forbidden: the principal has no pattern that covers the action.
    """
    noun = action.split("/", 1)[0]
    if principal.actions.isdisjoint({"*", f"{noun}/*", action}):
        raise Forbidden(
            f"'{principal.name}' may not do '{action}' in workspace '{scope}'.",
            remedy="Ask the owner of this home for the right to do so.",
        )


@dataclass(frozen=True, slots=True)
class Context:
    """Passed to every verb. One is made for each request."""

    home: Home
    database: Database
    blobs: Blobs
    vault: Vault
    principal: Principal = OWNER
    workspace: str = "default"
    # Called after a change that the gateway must know; set by the control plane.
    publish: Any = field(default=lambda: None)

    @contextmanager
    def begin(self, action: str) -> Generator[Session]:
        """One transaction for one authorised action."""
        authorize(self.principal, action, self.workspace)
        with self.database.begin() as session:
            yield session

    def acting(self, principal: Principal) -> Context:
        return replace(self, principal=principal)


def open_context(home: Home, workspace: str = "default") -> Context:
    """A context on `home`, which is made (mode 0700) where there is none."""
    home.make()
    return Context(
        home=home,
        database=Database(home.database, backups=home.backups),
        blobs=Blobs(home.blobs),
        vault=Vault(home.vault_key),
        workspace=workspace,
    )


def record(
    session: Session, context: Context, resource: str, kind: str, message: str, **data: Any
) -> None:
    """Add an event to a resource's history, in the transaction of the change itself."""
    session.add(
        EventRow(
            workspace=context.workspace, resource=resource, kind=kind, message=message, data=data
        )
    )


def history(session: Session, context: Context, resource: str, limit: int = 200) -> list[Event]:
    """The newest `limit` events of a resource, oldest first."""
    rows = session.scalars(
        select(EventRow)
        .where(EventRow.workspace == context.workspace, EventRow.resource == resource)
        .order_by(EventRow.id.desc())
        .limit(limit)
    )
    events = [
        Event(time=row.created_at, kind=row.kind, message=row.message, data=row.data)
        for row in rows
    ]
    return events[::-1]


def now() -> datetime:
    return datetime.now(UTC)
