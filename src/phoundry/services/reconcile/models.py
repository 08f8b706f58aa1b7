"""Registrations: Registering → Ready or Failed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from phoundry.compute import workers
from phoundry.services import models
from phoundry.services.context import Context, now, record
from phoundry.store.tables import ModelRow


def tick(context: Context) -> None:
    """Take in how registrations ended."""
    with context.database.begin() as session:
        query = select(ModelRow).filter_by(workspace=context.workspace, status="Registering")
        for row in session.scalars(query):
            state = workers.inspect(models.run_dir(context, row))
            if state.running:
                continue
            result = state.result
            if result and result["status"] == "succeeded":
                row.status = "Ready"
                row.version = int(result["version"])
                row.uri, row.sha256 = result["uri"], result["sha256"]
                row.checkpoint_dir = result["checkpoint_dir"]
                message = f"Version {row.version} is ready."
            else:
                error: dict[str, Any] = result["error"] if result else _killed(row)
                row.status, row.error, message = "Failed", error, str(error["message"])
            row.updated_at = now()
            record(session, context, f"model/{row.name}", row.status.lower(), message)


def _killed(row: ModelRow) -> dict[str, str]:
    return {
        "code": "WorkerFailed",
        "message": f"The process that registered '{row.name}' was killed.",
        "remedy": f"Register it again: `phoundry model register {row.name} --job {row.job}`.",
    }
