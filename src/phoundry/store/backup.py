"""A copy of the database as it was before it was changed for good."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from phoundry.errors import InsufficientResources
from phoundry.files import sync_file, sync_folder

KEPT = 3


def back_up(database: Path, folder: Path, revision: str) -> Path:
    """Copy `database` to `folder/phoundry-REVISION-TIME.db` (mode 0600); returns the copy's path.

    The copy is made by SQLite itself, so it is whole also while others write, and it is there
    whole or not at all. The newest `KEPT` copies stay.

    Raises:
        InsufficientResources: it cannot be written; the database is as it was.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    path = folder / f"phoundry-{revision}-{stamp}.db"
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")  # mode 0600
    os.close(handle)
    try:
        with (
            closing(sqlite3.connect(database)) as source,
            closing(sqlite3.connect(temporary)) as to,
        ):
            source.backup(to)
        sync_file(Path(temporary))
        Path(temporary).replace(path)
        sync_folder(folder)
    except (sqlite3.Error, OSError) as error:
        raise InsufficientResources(
            f"The database could not be copied to {folder} before its upgrade: {error}.",
            remedy=f"Free about {database.stat().st_size / 1e6:,.0f} MB there; nothing changed.",
        ) from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    for old in copies(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def copies(folder: Path) -> list[Path]:
    """The copies in `folder`, newest first."""
    return sorted(folder.glob("phoundry-*.db"), key=lambda file: file.name[-26:], reverse=True)
