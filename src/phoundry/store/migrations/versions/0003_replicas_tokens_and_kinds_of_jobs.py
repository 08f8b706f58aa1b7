"""Replicas, tokens that expire, mirrored traffic, the deploy gate, kinds of jobs"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Of each table: what a row of before had.
COLUMNS = {
    "endpoints": (("mirror", sa.JSON(), "{}"), ("settings", sa.JSON(), "{}")),
    "deployments": (
        ("revision", sa.Integer(), "1"),
        ("live", sa.Integer(), "1"),
        ("wanted", sa.Integer(), "1"),
        ("gate", sa.String(length=16), "skipped"),
    ),
    "jobs": (("type", sa.String(length=32), "finetuning"),),
}

# What a deployment was while it had one replica; each became a row of `replicas`.
ITS_REPLICA = (
    ("replica", sa.String(length=32), "waiting"),
    ("run_dir", sa.Text(), ""),
    ("token", sa.Text(), ""),
    ("restarts", sa.Integer(), "0"),
    ("failures", sa.Integer(), "0"),
    ("retry_at", sa.DateTime(timezone=True), None),
)
# The folder stays the same, so that a replica that runs is adopted.
ADOPT = """
insert into replicas (workspace, created_at, endpoint, deployment, number, revision, state,
                      run_dir, token, restarts, failures, retry_at)
select workspace, created_at, endpoint, name, 0, 1, replica,
       run_dir, token, restarts, failures, retry_at
from deployments
"""
# The first one that stays; a replica of today may be unready or draining.
GIVE_BACK = """
update deployments set
    replica = case its.state when 'unready' then 'ready' when 'draining' then 'waiting'
              else its.state end,
    run_dir = its.run_dir, token = its.token, restarts = its.restarts,
    failures = its.failures, retry_at = its.retry_at
from replicas as its
where its.workspace = deployments.workspace and its.endpoint = deployments.endpoint
  and its.deployment = deployments.name
  and its.number = (select min(number) from replicas as each
                    where each.workspace = its.workspace and each.endpoint = its.endpoint
                      and each.deployment = its.deployment)
"""
# One that slept has no token that could be given back: it has to be made again.
ASLEEP = """
update deployments set state = 'Failed', replica = 'failed', error = :error where token = ''
"""
GONE = {
    "code": "Conflict",
    "message": "It had no replica when Phoundry was set back to an older release.",
    "remedy": "Delete it and create it again.",
}


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        with op.batch_alter_table(table) as batch:
            for name, kind, before in columns:
                batch.add_column(sa.Column(name, kind, nullable=False, server_default=before))
        with op.batch_alter_table(table) as batch:
            for name, kind, _ in columns:
                batch.alter_column(name, existing_type=kind, server_default=None)
    with op.batch_alter_table("deployments") as batch:
        batch.add_column(sa.Column("parity", sa.JSON(), nullable=True))
        batch.add_column(sa.Column("former", sa.JSON(), nullable=True))
    op.create_table(
        "endpoint_tokens",
        sa.Column("endpoint", sa.String(length=32), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        *_every_row(),
        sa.PrimaryKeyConstraint("id", name="pk_endpoint_tokens"),
    )
    op.create_index("ix_endpoint_tokens_endpoint", "endpoint_tokens", ["endpoint"])
    op.create_table(
        "replicas",
        sa.Column("endpoint", sa.String(length=32), nullable=False),
        sa.Column("deployment", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("run_dir", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("restarts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopping_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        *_every_row(),
        sa.PrimaryKeyConstraint("id", name="pk_replicas"),
        sa.UniqueConstraint(
            "workspace", "endpoint", "deployment", "number", name="uq_replicas_workspace"
        ),
    )
    op.execute(ADOPT)
    with op.batch_alter_table("deployments") as batch:
        for name, _, _ in ITS_REPLICA:
            batch.drop_column(name)


def downgrade() -> None:
    with op.batch_alter_table("deployments") as batch:
        for name, kind, before in ITS_REPLICA:
            column = sa.Column(name, kind, nullable=before is None, server_default=before)
            batch.add_column(column)
    op.execute(GIVE_BACK)
    op.execute(sa.text(ASLEEP).bindparams(error=json.dumps(GONE)))
    with op.batch_alter_table("deployments") as batch:
        for name, kind, _ in ITS_REPLICA:
            batch.alter_column(name, existing_type=kind, server_default=None)
    op.drop_table("replicas")
    op.drop_index("ix_endpoint_tokens_endpoint", "endpoint_tokens")
    op.drop_table("endpoint_tokens")
    with op.batch_alter_table("deployments") as batch:
        batch.drop_column("parity")
        batch.drop_column("former")
    for table, columns in COLUMNS.items():
        with op.batch_alter_table(table) as batch:
            for name, _, _ in columns:
                batch.drop_column(name)


def _every_row() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("workspace", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
