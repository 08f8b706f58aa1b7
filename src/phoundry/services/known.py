"""Names of what there is, for the completion of a shell: fast, and without starting anything.

Read from the database's file by the standard library alone: an ORM would take longer to import
than a shell may wait. What cannot be read has no names; completion never complains.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from phoundry.settings import Home

_QUERIES = {
    "data": "select distinct name from data_assets union select name || ':' || version"
    " from data_assets",
    "job": "select name from jobs order by id desc",
    "model": "select distinct name from models union select name || ':' || version from models",
    "endpoint": "select name from endpoints where state != 'Deleting'",
    "deployment": "select endpoint || '/' || name from deployments where state != 'Deleting'",
    "connection": "select name from connections",
    "journey": "select name from journeys",
}
NOUNS = (*_QUERIES, "flow", "run")
_BUSY_SECONDS = 0.1


def known(home: Home, noun: str) -> list[str]:
    """The names of every `noun` of this home; none where it has no database."""
    if noun == "flow":
        flows = home.root / "flows"
        return sorted(str(path) for path in flows.iterdir()) if flows.is_dir() else []
    if noun == "run":
        return sorted(path.parent.name for path in home.runs.glob("*/run.json"))
    address = f"{home.database.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)) as connection:
            return [str(row[0]) for row in connection.execute(_QUERIES[noun])]
    except sqlite3.Error:
        return []
