"""The tables. Every row carries its workspace."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, DateTime, MetaData, String, Text, TypeDecorator, UniqueConstraint
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC; SQLite itself keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        dict[str, Any]: JSON,
        list[Any]: JSON,
        datetime: UtcDateTime,
    }


class Row:
    """What every table has."""

    id: Mapped[int] = mapped_column(primary_key=True)
    workspace: Mapped[str] = mapped_column(String(64), default="default")
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))


class DataAssetRow(Row, Base):
    __tablename__ = "data_assets"
    __table_args__ = (UniqueConstraint("workspace", "name", "version"),)
    name: Mapped[str] = mapped_column(String(255))
    version: Mapped[int]
    type: Mapped[str] = mapped_column(String(32), default="chat")
    filename: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text, default="")
    config: Mapped[str | None] = mapped_column(Text)
    split: Mapped[str | None] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    format: Mapped[str] = mapped_column(String(32), default="messages")
    container: Mapped[str] = mapped_column(String(32), default="jsonl")
    mapping: Mapped[dict[str, Any]] = mapped_column(default=dict)
    train: Mapped[dict[str, Any]]
    test: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    test_size: Mapped[float]
    seed: Mapped[int]
    rows_read: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(default=0)
    skipped_rows: Mapped[list[Any]] = mapped_column(default=list)
    duplicates: Mapped[int] = mapped_column(default=0)
    notices: Mapped[list[Any]] = mapped_column(default=list)
    description: Mapped[str] = mapped_column(Text, default="")
    tags: Mapped[dict[str, Any]] = mapped_column(default=dict)


class JobRow(Row, Base):
    __tablename__ = "jobs"
    __table_args__ = (UniqueConstraint("workspace", "name"),)
    name: Mapped[str] = mapped_column(String(255))
    type: Mapped[str] = mapped_column(String(32), default="finetuning")
    status: Mapped[str] = mapped_column(String(32))
    spec: Mapped[dict[str, Any]]
    parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    sources: Mapped[dict[str, Any]] = mapped_column(default=dict)
    progress: Mapped[dict[str, Any]] = mapped_column(default=dict)
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    notices: Mapped[list[Any]] = mapped_column(default=list)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    run_dir: Mapped[str] = mapped_column(Text, default="")
    spool_offset: Mapped[int] = mapped_column(default=0)
    stopping_since: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class TaskRow(Row, Base):
    """Work that several resources may wait for, such as making a base model's checkpoint."""

    __tablename__ = "tasks"
    __table_args__ = (UniqueConstraint("workspace", "key"),)
    key: Mapped[str] = mapped_column(String(255))
    module: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(32))
    run_dir: Mapped[str] = mapped_column(Text)
    result: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class ModelRow(Row, Base):
    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("workspace", "name", "version"),)
    name: Mapped[str] = mapped_column(String(255))
    version: Mapped[int]
    status: Mapped[str] = mapped_column(String(32))
    job: Mapped[str | None] = mapped_column(String(255))
    base_model: Mapped[str | None] = mapped_column(Text)
    uri: Mapped[str | None] = mapped_column(Text)
    sha256: Mapped[str | None] = mapped_column(String(64))
    checkpoint_dir: Mapped[str | None] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text, default="")
    tags: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    updated_at: Mapped[datetime | None]


class EndpointRow(Row, Base):
    __tablename__ = "endpoints"
    __table_args__ = (UniqueConstraint("workspace", "name"),)
    name: Mapped[str] = mapped_column(String(32))
    auth_mode: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(32))
    traffic: Mapped[dict[str, Any]] = mapped_column(default=dict)
    mirror: Mapped[dict[str, Any]] = mapped_column(default=dict)
    # Of the spec: rate_limit, allowed_origins.
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    keys: Mapped[str] = mapped_column(Text)  # encrypted: {"primary", "secondary"}
    description: Mapped[str] = mapped_column(Text, default="")
    tags: Mapped[dict[str, Any]] = mapped_column(default=dict)


class EndpointTokenRow(Row, Base):
    """A key of an endpoint that ends by itself. The token is told once and not kept."""

    __tablename__ = "endpoint_tokens"
    endpoint: Mapped[str] = mapped_column(String(32), index=True)
    sha256: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[datetime]


class DeploymentRow(Row, Base):
    __tablename__ = "deployments"
    __table_args__ = (UniqueConstraint("workspace", "endpoint", "name"),)
    endpoint: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(32))
    spec: Mapped[dict[str, Any]]
    stopping_since: Mapped[datetime | None]
    notices: Mapped[list[Any]] = mapped_column(default=list)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    revision: Mapped[int] = mapped_column(default=1)  # grows when its replicas must be others
    live: Mapped[int] = mapped_column(default=1)  # the newest revision that gets requests
    # {"revision", "spec", "gate"} of the revision before; "failed": of one that was taken back.
    former: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    wanted: Mapped[int] = mapped_column(default=1)  # replicas that it shall have now
    gate: Mapped[str] = mapped_column(String(16), default="skipped")
    parity: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # what the gate found


class ReplicaRow(Row, Base):
    """One process that serves a deployment.

    `state`: waiting, starting, ready, unready (its readiness probe fails), crashed (is started
    again at `retry_at`), draining (takes nothing new, ends what it has), failed.
    """

    __tablename__ = "replicas"
    __table_args__ = (UniqueConstraint("workspace", "endpoint", "deployment", "number"),)
    endpoint: Mapped[str] = mapped_column(String(32))
    deployment: Mapped[str] = mapped_column(String(32))
    number: Mapped[int]
    revision: Mapped[int]  # of the deployment that it serves
    state: Mapped[str] = mapped_column(String(32), default="waiting")
    run_dir: Mapped[str] = mapped_column(Text)
    token: Mapped[str] = mapped_column(Text)  # encrypted: what the gateway sends to the replica
    restarts: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)  # in a row: none of them served for long
    retry_at: Mapped[datetime | None]
    stopping_since: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class ConnectionRow(Row, Base):
    __tablename__ = "connections"
    __table_args__ = (UniqueConstraint("workspace", "name"),)
    name: Mapped[str] = mapped_column(String(255))
    type: Mapped[str] = mapped_column(String(32))
    configs: Mapped[dict[str, Any]] = mapped_column(default=dict)
    secret_names: Mapped[list[Any]] = mapped_column(default=list)
    secrets: Mapped[str] = mapped_column(Text)  # encrypted: {name: value}
    updated_at: Mapped[datetime]


class FlowSettingsRow(Row, Base):
    __tablename__ = "flow_settings"
    __table_args__ = (UniqueConstraint("workspace", "path"),)
    path: Mapped[str] = mapped_column(Text)
    connections: Mapped[dict[str, Any]] = mapped_column(default=dict)
    chat_input: Mapped[str | None] = mapped_column(String(255))
    chat_output: Mapped[str | None] = mapped_column(String(255))
    chat_history: Mapped[str | None] = mapped_column(String(255))


class JourneyRow(Row, Base):
    __tablename__ = "journeys"
    __table_args__ = (UniqueConstraint("workspace", "name"),)
    name: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(32))
    spec: Mapped[dict[str, Any]]
    steps: Mapped[list[Any]] = mapped_column(default=list)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class EventRow(Row, Base):
    """History of a resource, named `job/NAME`, `endpoint/NAME`, `deployment/ENDPOINT/NAME`."""

    __tablename__ = "events"
    resource: Mapped[str] = mapped_column(String(255), index=True)
    kind: Mapped[str] = mapped_column(String(64))
    message: Mapped[str] = mapped_column(Text, default="")
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
