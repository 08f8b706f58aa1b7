"""What a test need not wait for: the disk, and migrations that another test has walked already.

A power cut loses nothing that a test wants, and a new database is the same every time. Rooms that
make many homes import `quick_databases` into their conftest; `tests/store` walks every migration
itself and does without.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """`os.fsync` of this process only looks whether it was given a file. (Tests of a full disk put
    their own in its place.)"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: os.fstat(_number(file)) and None)
        yield


def _number(file: Any) -> int:
    return file if isinstance(file, int) else int(file.fileno())


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that the migrations have just made, and nobody writes to."""
    from phoundry.store.database import Database

    path = tmp_path_factory.mktemp("database") / "phoundry.db"
    Database(path).close()
    return path


@pytest.fixture(scope="module", autouse=True)
def quick_databases(new_database: Path) -> Iterator[None]:
    """A database of this process that is not there yet begins as a copy of a new one."""
    from phoundry.store import database

    migrate, configure = database.Database._migrate, database._configure

    def copy_or_migrate(made: database.Database) -> None:
        if not made.path.exists():
            shutil.copyfile(new_database, made.path)
        migrate(made)

    def configure_in_memory_of_the_system(connection: Any, record: Any) -> None:
        configure(connection, record)
        connection.execute("PRAGMA synchronous=OFF")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database.Database, "_migrate", copy_or_migrate)
        patch.setattr(database, "_configure", configure_in_memory_of_the_system)
        yield
