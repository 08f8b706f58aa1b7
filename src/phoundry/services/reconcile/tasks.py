"""Shared tasks: running → succeeded or failed."""

from __future__ import annotations

from phoundry.services import tasks
from phoundry.services.context import Context


def tick(context: Context) -> None:
    """Take in how running tasks ended."""
    with context.database.begin() as session:
        tasks.refresh(session, context)
