"""Alembic's entry: runs migrations on the connection that `Database` hands over."""

from __future__ import annotations

from typing import Any

from alembic import context

from phoundry.store.tables import Base, UtcDateTime


def render_item(kind: str, item: Any, autogenerate: Any) -> str | bool:
    """Migrations name SQL's own types: they must not change with the product's code."""
    return "sa.DateTime(timezone=True)" if isinstance(item, UtcDateTime) else False


def run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        render_item=render_item,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
