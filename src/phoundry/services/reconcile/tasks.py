"""Shared tasks: running → succeeded, failed, or new again."""

from __future__ import annotations

from phoundry.services import tasks
from phoundry.services.context import Context
from phoundry.services.reconcile.isolation import each
from phoundry.store.tables import TaskRow


def tick(context: Context) -> None:
    """Take in how running tasks ended."""
    each(context, TaskRow, TaskRow.state == "running", move=tasks.refresh, fail=tasks.fail)
