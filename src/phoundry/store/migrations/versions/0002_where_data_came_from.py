"""Where data came from, how it was read, and what was left out"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# What is true of every asset of before: messages in a JSONL file, every row of it kept.
COLUMNS = (
    ("type", sa.String(length=32), "chat"),
    ("source", sa.Text(), ""),
    ("format", sa.String(length=32), "messages"),
    ("container", sa.String(length=32), "jsonl"),
    ("mapping", sa.JSON(), '{"messages": "messages"}'),
    ("rows_read", sa.Integer(), "0"),
    ("skipped", sa.Integer(), "0"),
    ("skipped_rows", sa.JSON(), "[]"),
    ("duplicates", sa.Integer(), "0"),
    ("notices", sa.JSON(), "[]"),
)
# Of data sets of the hub alone.
OPTIONAL = ("config", "split")


def upgrade() -> None:
    with op.batch_alter_table("data_assets") as batch:
        for name, kind, before in COLUMNS:
            batch.add_column(sa.Column(name, kind, nullable=False, server_default=before))
        for name in OPTIONAL:
            batch.add_column(sa.Column(name, sa.Text(), nullable=True))
    assets = sa.table(
        "data_assets",
        sa.column("id", sa.Integer()),
        sa.column("train", sa.JSON()),
        sa.column("test", sa.JSON()),
        sa.column("rows_read", sa.Integer()),
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(assets)).all():
        read = row.train["rows"] + (row.test["rows"] if row.test else 0)
        connection.execute(assets.update().where(assets.c.id == row.id).values(rows_read=read))
    with op.batch_alter_table("data_assets") as batch:
        for name, kind, _ in COLUMNS:
            batch.alter_column(name, existing_type=kind, server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("data_assets") as batch:
        for name in (*OPTIONAL, *(name for name, _, _ in COLUMNS)):
            batch.drop_column(name)
