"""What is remembered of flow folders, so that the folders stay as they are."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.services.context import Context
from phoundry.specs.flow import FlowSettings
from phoundry.store.tables import FlowSettingsRow


def settings(context: Context, path: str) -> FlowSettings:
    """The choices made for the flow in folder `path`; empty ones where none were made."""
    with context.begin("flows/read") as session:
        row = _find(session, context, path)
        if row is None:
            return FlowSettings(path=path)
        return FlowSettings(
            path=path,
            connections=dict(row.connections),
            chat_input=row.chat_input,
            chat_output=row.chat_output,
            chat_history=row.chat_history,
        )


def remember(context: Context, chosen: FlowSettings) -> FlowSettings:
    """Keep the choices for `chosen.path`, in place of those before."""
    with context.begin("flows/write") as session:
        row = _find(session, context, chosen.path)
        if row is None:
            row = FlowSettingsRow(workspace=context.workspace, path=chosen.path)
            session.add(row)
        row.connections = dict(chosen.connections)
        row.chat_input = chosen.chat_input
        row.chat_output = chosen.chat_output
        row.chat_history = chosen.chat_history
    return chosen


def _find(session: Session, context: Context, path: str) -> FlowSettingsRow | None:
    query = select(FlowSettingsRow).filter_by(workspace=context.workspace, path=path)
    return session.scalars(query).first()
