"""Finding a deployment's row, and writing into its history."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from phoundry.services.context import Context, record
from phoundry.services.rows import get
from phoundry.store.tables import DeploymentRow


def resource(endpoint: str, name: str) -> str:
    """The name under which a deployment's events are kept."""
    return f"deployment/{endpoint}/{name}"


def note(
    session: Session, context: Context, row: DeploymentRow, kind: str, text: str, **data: Any
) -> None:
    """Add an event to the history of `row`, in the transaction of the change itself."""
    record(session, context, resource(row.endpoint, row.name), kind, text, **data)


def row_of(session: Session, context: Context, endpoint: str, name: str) -> DeploymentRow:
    """The row of a deployment. Raises NotFound with the nearest names."""
    return get(
        session,
        context,
        DeploymentRow,
        name,
        noun=f"deployment of '{endpoint}'",
        remedy=f"`phoundry deployment list --endpoint {endpoint}` shows what there is.",
        endpoint=endpoint,
    )
