"""The database: SQLite in WAL mode, short sessions, migrated when it is opened."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session

from phoundry.errors import Conflict


class Database:
    """Opens `path`, making and migrating it where needed.

    Raises:
        Conflict: a newer Phoundry wrote this database.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.engine: Engine = create_engine(f"sqlite:///{path}")
        self._current: ContextVar[Session | None] = ContextVar("session", default=None)
        event.listen(self.engine, "connect", _configure)
        event.listen(self.engine, "begin", _begin)
        self._migrate()

    @contextmanager
    def begin(self) -> Generator[Session]:
        """A session in one transaction: all of the block, or nothing of it.

        Inside another block of the same thread it is that block's session: verbs can call verbs,
        and the outermost one commits.
        """
        if (outer := self._current.get()) is not None:
            yield outer
            return
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            token = self._current.set(session)
            try:
                yield session
            finally:
                self._current.reset(token)

    def close(self) -> None:
        self.engine.dispose()

    def _migrate(self) -> None:
        script = ScriptDirectory.from_config(migration_config())
        with self.engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
        if revision == script.get_current_head():
            return
        known = {item.revision for item in script.walk_revisions()}
        if revision is not None and revision not in known:
            raise Conflict(
                f"{self.path} was written by a newer Phoundry (revision {revision}).",
                remedy="Upgrade Phoundry, or use another PHOUNDRY_HOME.",
            )
        with self.engine.begin() as connection:
            config = migration_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def migration_config() -> Config:
    """Alembic's configuration; env.py takes the connection from its attributes."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _configure(connection: Any, record: Any) -> None:
    # Python's sqlite3 would open transactions on its own; we open them ourselves in _begin.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=15000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Any) -> None:
    # IMMEDIATE: a transaction that reads and then writes never fails half-way with "locked".
    connection.exec_driver_sql("BEGIN IMMEDIATE")
