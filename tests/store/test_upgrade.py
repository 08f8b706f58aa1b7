"""Opening the database of an older Phoundry: copied, migrated at once, or as it was."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from phoundry.errors import Conflict, InsufficientResources
from phoundry.store.backup import KEPT, back_up, copies
from phoundry.store.database import Database, migration_config, revisions

ASSET = (
    "insert into data_assets (name, version, filename, sha256, train, test_size, seed,"
    " description, tags, workspace, created_at) values ('faq', 1, 'faq.jsonl', 'ab',"
    """ '{"rows": 8, "bytes": 90, "sha256": "ab"}', 0.2, 42, '', '{}', 'default',"""
    " '2026-01-01 00:00:00')"
)
ENDPOINT = (
    "insert into endpoints (name, auth_mode, state, traffic, keys, description, tags, workspace,"
    " created_at) values ('faq', 'key', 'Succeeded', '{}', 'x', '', '{}', 'default',"
    " '2026-01-01 00:00:00')"
)
# Opens a database, and dies without a word at the statement of that number.
DYING = """
import os, sys
from pathlib import Path
from sqlalchemy import Engine, event
count = 0
def dying(connection, cursor, statement, *_):
    global count
    if "version" not in statement or "UPDATE" in statement:
        count += 1
    if count == int(sys.argv[2]):
        os._exit(9)
event.listen(Engine, "before_cursor_execute", dying)
from phoundry.store.database import Database
Database(Path(sys.argv[1]))
"""


def head() -> str:
    return ScriptDirectory.from_config(migration_config()).get_current_head() or ""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of the first release, with an asset and an endpoint in it."""
    path = tmp_path / "old.db"
    database = Database(path)
    with database.engine.begin() as connection:
        config = migration_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        connection.exec_driver_sql(ASSET)
        connection.exec_driver_sql(ENDPOINT)
    database.close()
    return path


def names(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(
            "select name from data_assets union all select name from endpoints"
        )
        return [row[0] for row in found]


needs_two = pytest.mark.skipif(head() == "0001", reason="there is one revision only")


@needs_two
def test_it_is_copied_then_migrated(old: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Database(old).close()
    assert revisions(old) == (head(), head(), True)
    [copy] = copies(old.parent / "backups")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert copy.parent.stat().st_mode & 0o777 == 0o700
    assert revisions(copy)[0] == "0001"
    assert names(copy) == names(old) == ["faq", "faq"]
    assert str(copy) in caplog.text
    caplog.clear()
    Database(old).close()  # said once, copied once
    assert caplog.text == ""
    assert len(copies(old.parent / "backups")) == 1


@needs_two
def test_a_copy_can_be_put_back(old: Path) -> None:
    Database(old).close()
    [copy] = copies(old.parent / "backups")
    for leftover in old.parent.glob("old.db-*"):
        leftover.unlink()
    copy.replace(old)
    Database(old).close()
    assert names(old) == ["faq", "faq"]


@needs_two
def test_killed_at_any_statement_the_next_start_does_it(
    old: Path, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    pristine = old.read_bytes()
    died = 0
    for step in (1, 2, 5, 12, 25, 60, 1_000):
        with subtests.test(step=step):
            path = tmp_path / f"at-{step}" / "old.db"
            path.parent.mkdir()
            path.write_bytes(pristine)
            code = subprocess.run(
                [sys.executable, "-c", DYING, str(path), str(step)], check=False
            ).returncode
            died += code == 9
            assert revisions(path)[0] in ("0001", head())
            assert code == 9 or revisions(path)[0] == head()
            Database(path).close()
            assert revisions(path)[0] == head()
            assert names(path) == ["faq", "faq"]
    assert died >= 3


def test_a_new_one_is_not_copied(tmp_path: Path) -> None:
    Database(tmp_path / "new.db").close()
    assert not (tmp_path / "backups").exists()


def test_a_newer_one_is_neither_copied_nor_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    database = Database(path)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    database.close()
    assert revisions(path) == ("9999", head(), False)
    with pytest.raises(Conflict, match=f"revision 9999; this one knows {head()}"):
        Database(path)
    assert not (tmp_path / "backups").exists()


def test_three_copies_are_kept(tmp_path: Path) -> None:
    Database(tmp_path / "a.db").close()
    made = [back_up(tmp_path / "a.db", tmp_path / "copies", f"000{n % 2}") for n in range(5)]
    assert copies(tmp_path / "copies") == made[::-1][:KEPT]
    assert sorted((tmp_path / "copies").iterdir()) == sorted(made[-KEPT:])


@needs_two
def test_without_room_for_a_copy_nothing_happens(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("phoundry.store.backup.sync_file", full)
    with pytest.raises(InsufficientResources, match="No space left"):
        Database(old)
    assert revisions(old)[0] == "0001"
    assert list((old.parent / "backups").iterdir()) == []


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"not a database, whatever it is called" * 50)
    with pytest.raises(sqlite3.Error):
        revisions(tmp_path / "a.db")


def test_looking_makes_nothing(tmp_path: Path) -> None:
    assert revisions(tmp_path / "none.db") == (None, head(), True)
    assert list(tmp_path.iterdir()) == []
