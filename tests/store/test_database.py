from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, inspect, select

from phoundry.errors import Conflict
from phoundry.store.database import Database, migration_config
from phoundry.store.tables import Base, ConnectionRow, EventRow


def event(number: int) -> EventRow:
    return EventRow(workspace="default", resource="job/x", kind=str(number))


def count(database: Database) -> int:
    with database.begin() as session:
        return session.scalar(select(func.count()).select_from(EventRow)) or 0


def test_migrations_make_exactly_the_tables(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db")
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []


def test_up_and_down_again(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db")
    config = migration_config()
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    database.close()
    assert set(Base.metadata.tables) <= set(
        inspect(Database(tmp_path / "a.db").engine).get_table_names()
    )


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db")
    with database.engine.begin() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    database.close()
    with pytest.raises(Conflict, match="newer Phoundry"):
        Database(tmp_path / "a.db")


def test_a_block_is_all_or_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db")
    with pytest.raises(RuntimeError), database.begin() as session:
        session.add(event(1))
        with database.begin() as inner:  # joins the outer block
            inner.add(event(2))
        raise RuntimeError
    assert count(database) == 0


def test_writers_wait_for_each_other(tmp_path: Path) -> None:
    Database(tmp_path / "a.db").close()

    def write(number: int) -> None:
        database = Database(tmp_path / "a.db")
        for _ in range(10):
            with database.begin() as session:
                seen = session.scalar(select(func.count()).select_from(EventRow)) or 0
                session.add(event(seen))
        database.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database = Database(tmp_path / "a.db")
    with database.begin() as session:
        kinds = session.scalars(select(EventRow.kind).order_by(EventRow.id)).all()
    assert kinds == [str(number) for number in range(40)]  # no read went stale before its write


def test_times_come_back_with_their_zone(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db")
    with database.begin() as session:
        session.add(event(1))
    with database.begin() as session:
        row = session.scalars(select(EventRow)).one()
        assert row.created_at.tzinfo is not None
    assert ConnectionRow.__table__.c.secrets.type.__class__.__name__ == "Text"
