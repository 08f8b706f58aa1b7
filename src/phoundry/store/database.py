"""The database: SQLite in WAL mode, short sessions, migrated when it is opened."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import Session

from phoundry.errors import Conflict
from phoundry.store.backup import back_up

log = logging.getLogger("phoundry.store")


class Database:
    """Opens `path`, making and migrating it where needed.

    An older database is copied to `backups` first (beside it unless given), then migrated in one
    transaction: whoever is killed in between leaves the old one, and the next start does it again.

    Raises:
        Conflict: a newer Phoundry wrote this database.
        InsufficientResources: there is no room for the copy.
    """

    def __init__(self, path: Path, *, backups: Path | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.backups = backups or path.parent / "backups"
        self.engine: Engine = create_engine(f"sqlite:///{path}")
        self.changes = 0  # grows with every transaction that has changed a row
        self._current: ContextVar[Session | None] = ContextVar("session", default=None)
        event.listen(self.engine, "connect", _configure)
        event.listen(self.engine, "begin", _begin)
        event.listen(self.engine, "commit", self._count)
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

    def _count(self, connection: Connection) -> None:
        """SQLite counts the rows that each of its connections has changed."""
        changed: int = connection.connection.dbapi_connection.total_changes  # type: ignore[union-attr]
        if changed != connection.info.get("changed", 0):
            connection.info["changed"] = changed
            self.changes += 1

    def _migrate(self) -> None:
        script = ScriptDirectory.from_config(migration_config())
        with self.engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
        if revision == script.get_current_head():
            return
        known = {item.revision for item in script.walk_revisions()}
        if revision is not None and revision not in known:
            raise Conflict(
                f"{self.path} was written by a newer Phoundry (revision {revision}; this one knows "
                f"{script.get_current_head()}).",
                remedy="Upgrade Phoundry, use another PHOUNDRY_HOME, or put back a copy of "
                f"{self.backups} in its place.",
            )
        copy = back_up(self.path, self.backups, revision) if revision else None
        with self.engine.begin() as connection:
            config = migration_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        if copy:
            head = script.get_current_head()
            log.warning("The database was upgraded from %s to %s; a copy: %s", revision, head, copy)


def revisions(path: Path) -> tuple[str | None, str | None, bool]:
    """A database's revision, this version's, and whether this version can open it.

    Nothing is made or migrated. A file that is not there has no revision, and can be made.

    Raises:
        sqlite3.Error: the file is no database, or cannot be read.
    """
    script = ScriptDirectory.from_config(migration_config())
    head = script.get_current_head()
    if not path.exists():
        return None, head, True
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute("select version_num from alembic_version").fetchone()
    known = {item.revision for item in script.walk_revisions()}
    return (found[0], head, found[0] in known) if found else (None, head, True)


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
