"""`traces.db`: traces in a SQLite file of their own, bounded by age and by size.

A trace is a row and its spans are one text in it: they are written and read together, and a batch
of ten thousand lines writes as many rows, not several times that.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from phoundry.errors import Conflict, NotFound, Unavailable
from phoundry.traces.trace import Origin, Trace

DAYS = 30
SIZE = 200_000_000  # bytes
WAIT = 5.0  # seconds for others who write
MOST_PARTS = 500  # of one caller's trace that are shown: it may have asked for hours
_SCHEMA = """
CREATE TABLE IF NOT EXISTS traces (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, flow TEXT NOT NULL, started INTEGER NOT NULL,
    seconds REAL NOT NULL, run TEXT, line INTEGER, error TEXT, input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL, spans TEXT NOT NULL, within TEXT, parent TEXT, endpoint TEXT,
    deployment TEXT, request TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS traces_within ON traces (within) WHERE within IS NOT NULL;
CREATE INDEX IF NOT EXISTS traces_started ON traces (started);
"""
_VERSION = 2
_ADDED = ("within", "parent", "endpoint", "deployment", "request")  # by version 2
_COLUMNS = (
    "id, name, flow, started, seconds, run, line, error, input_tokens, output_tokens, "
    f"{', '.join(_ADDED)}, spans"
)
_INSERT = f"INSERT OR REPLACE INTO traces ({_COLUMNS}) VALUES ({', '.join('?' * 16)})"  # noqa: S608
_PART = 0.1  # of the oldest, that go at a time when there is too much


class TraceStore:
    """The traces in the file `path`, which is made when the first one is written.

    Raises (all methods):
        Unavailable: the file can't be read or written, or is no database.
    """

    def __init__(self, path: Path, *, days: float = DAYS, size: int = SIZE) -> None:
        self.path, self.days, self.size = path, days, size

    def add(self, traces: Iterable[Trace]) -> None:
        """Keep `traces`, and forget what is too old or too much."""
        rows = [_row(trace) for trace in traces]
        with self._open(make=True) as database:
            database.executemany(_INSERT, rows)
            self._bound(database)

    def list(
        self,
        *,
        flow: str | None = None,
        run: str | None = None,
        failed: bool | None = None,
        endpoint: str | None = None,
        deployment: str | None = None,
        limit: int = 20,
    ) -> list[Trace]:
        """The newest first, without their spans."""
        wanted = {
            "flow = ?": flow,
            "run = ?": run,
            "endpoint = ?": endpoint,
            "deployment = ?": deployment,
        }
        terms = [term for term, value in wanted.items() if value is not None]
        if failed is not None:
            terms.append("error IS NOT NULL" if failed else "error IS NULL")
        where = f"WHERE {' AND '.join(terms)}" if terms else ""
        values = [value for value in wanted.values() if value is not None]
        columns = _COLUMNS.removesuffix(", spans")
        with self._open() as database:
            found = database.execute(
                f"SELECT {columns}, '[]' FROM traces {where} ORDER BY started DESC LIMIT ?",  # noqa: S608 - our own words
                [*values, limit],
            )
            return [_trace(row) for row in found]

    def get(self, id: str) -> Trace:
        """The first of `parts(id)`."""
        return self.parts(id)[0]

    def parts(self, id: str) -> list[Trace]:
        """What is kept of the trace whose id begins so, in the order in which it began: one run
        of a flow, or several where a caller's trace asked several (the first `MOST_PARTS`).
        `last` is the newest.

        Raises:
            NotFound: there is none. Conflict: several begin so.
        """
        with self._open() as database:
            whole = _whole(database, id.lower())
            found = database.execute(
                f"SELECT {_COLUMNS} FROM traces WHERE id = ? OR within = ? "  # noqa: S608
                "ORDER BY started, id LIMIT ?",
                [whole, whole, MOST_PARTS],
            )
            return [_trace(row) for row in found]

    def walk(self, ids: Sequence[str] = ()) -> Generator[Trace]:
        """The traces of `ids`, else all of them from the oldest on, read as they are needed."""
        if ids:
            for id in ids:
                yield from self.parts(id)
            return
        for id in self._ids():
            with self._open() as database:
                row = database.execute(
                    f"SELECT {_COLUMNS} FROM traces WHERE id = ?",  # noqa: S608
                    [id],
                ).fetchone()
            if row is not None:  # it has not been forgotten meanwhile
                yield _trace(row)

    def delete(self, ids: Sequence[str]) -> int:
        """Forget the traces of `ids` (whole ones); how many runs that were."""
        term = "DELETE FROM traces WHERE id = ? OR within = ?"
        with self._open() as database:
            done = sum(database.execute(term, [id, id]).rowcount for id in ids)
            _shrink(database)
        return done

    def delete_older(self, days: float) -> int:
        """Forget what began more than `days` days ago; 0: everything. How many there were."""
        with self._open() as database:
            done = database.execute(
                "DELETE FROM traces WHERE started < ?", [time.time_ns() - int(days * 86400e9)]
            ).rowcount
            _shrink(database)
        return done

    def _ids(self) -> list[str]:
        with self._open() as database:
            found = database.execute("SELECT id FROM traces ORDER BY started").fetchall()
        return [row[0] for row in found]

    def _bound(self, database: sqlite3.Connection) -> None:
        before = time.time_ns() - int(self.days * 86400e9)
        database.execute("DELETE FROM traces WHERE started < ?", [before])
        while self._used(database) > self.size:
            (count,) = database.execute("SELECT count(*) FROM traces").fetchone()
            if count <= 1:
                break
            database.execute(
                "DELETE FROM traces WHERE id IN (SELECT id FROM traces ORDER BY started LIMIT ?)",
                [max(1, int(count * _PART))],
            )

    def _used(self, database: sqlite3.Connection) -> int:
        """Bytes that hold traces: what was freed is used again."""
        pages, free, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    @contextmanager
    def _open(self, *, make: bool = False) -> Generator[sqlite3.Connection]:
        """A connection in one transaction; an empty one where there is no file yet."""
        try:
            with closing(self._connect(make)) as database, database:
                yield database
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(
                f"The traces in {self.path} can't be used: {error}.",
                remedy="Nothing but traces is in that file: move it away to begin anew.",
            ) from None

    def _connect(self, make: bool) -> sqlite3.Connection:
        if not make and not self.path.exists():
            database = sqlite3.connect(":memory:")
            database.executescript(_SCHEMA)
            return database
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Prompts and answers are nobody else's to read.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        database = sqlite3.connect(self.path, timeout=WAIT)
        if database.execute("PRAGMA user_version").fetchone()[0] < _VERSION:
            _prepare(database)
        database.execute("PRAGMA synchronous = NORMAL")
        return database


def _prepare(database: sqlite3.Connection) -> None:
    """Bring a new or an older file to `_VERSION`, while others may be at it, too.

    SQLite waits for locks, but not for that of the journal's mode.
    """
    deadline = time.monotonic() + WAIT
    while True:
        try:
            if database.execute("PRAGMA user_version").fetchone()[0] == 0:
                database.execute("PRAGMA auto_vacuum = INCREMENTAL")
                database.execute("PRAGMA journal_mode = WAL")
            _migrate(database)
        except sqlite3.OperationalError as error:
            database.rollback()
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _migrate(database: sqlite3.Connection) -> None:
    """In one transaction: to `_VERSION` from none or from 1."""
    database.execute("BEGIN IMMEDIATE")
    if database.execute("PRAGMA user_version").fetchone()[0] == 1:
        for name in _ADDED:
            database.execute(f"ALTER TABLE traces ADD COLUMN {name} TEXT")
    for statement in _SCHEMA.split(";"):
        database.execute(statement)
    database.execute(f"PRAGMA user_version = {_VERSION}")
    database.commit()


def _whole(database: sqlite3.Connection, id: str) -> str:
    """The id that begins so: of a trace, or of a caller's."""
    if id == "last":
        newest = "SELECT coalesce(within, id) FROM traces ORDER BY started DESC LIMIT 1"
        found = database.execute(newest).fetchall()
    else:
        found = database.execute(
            "SELECT id FROM traces WHERE within IS NULL AND substr(id, 1, :size) = :id "
            "UNION SELECT within FROM traces WHERE substr(within, 1, :size) = :id LIMIT 2",
            {"size": len(id), "id": id},
        ).fetchall()
    if not found or not id:
        raise NotFound(f"There is no trace '{id}'.", remedy="See: phoundry trace list")
    if len(found) > 1:
        raise Conflict(
            f"Several traces begin with '{id}'.", remedy="Write more of the id's digits."
        )
    return str(found[0][0])


def _shrink(database: sqlite3.Connection) -> None:
    database.commit()
    database.execute("PRAGMA incremental_vacuum").fetchall()


def _row(trace: Trace) -> tuple[object, ...]:
    return (
        trace.id,
        trace.name,
        trace.flow,
        trace.started,
        trace.seconds,
        trace.run,
        trace.line,
        trace.error,
        trace.input_tokens,
        trace.output_tokens,
        *trace.origin,
        trace.text or json.dumps(trace.spans),
    )


def _trace(row: Sequence[object]) -> Trace:
    *fields, within, parent, endpoint, deployment, request, spans = row
    origin = Origin(within, parent, endpoint, deployment, request)  # type: ignore[arg-type]
    return Trace(*fields, spans=json.loads(str(spans)), origin=origin)  # type: ignore[arg-type]
