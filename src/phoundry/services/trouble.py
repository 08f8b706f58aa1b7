"""What the machine refused, as an error that says what to do."""

from __future__ import annotations

import errno
import sqlite3

from sqlalchemy.exc import OperationalError

from phoundry.errors import InsufficientResources, PhoundryError, Unavailable
from phoundry.settings import Home

_FULL = (errno.ENOSPC, errno.EDQUOT)


def explained(error: Exception, home: Home) -> PhoundryError:
    """`error` itself if it is one of ours, else one that tells what was found and the way on."""
    if isinstance(error, PhoundryError):
        return error
    if isinstance(error, OperationalError):
        return _database(error, home)
    if isinstance(error, OSError):
        if error.errno in _FULL:
            return _disk_full(home)
        place = f": {error.filename}" if error.filename else ""
        return Unavailable(
            f"The system refused: {error.strerror or type(error).__name__}{place}.",
            remedy="Mend that, then try again.",
        )
    return PhoundryError(
        f"Phoundry met a fault of its own: {type(error).__name__}: {error}",
        remedy=f"{home.logs / 'server.log'} tells more. Try again.",
    )


def _database(error: OperationalError, home: Home) -> PhoundryError:
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL:
        return _disk_full(home)
    # Without the statement and its values, which SQLAlchemy's own message would show.
    return Unavailable(
        f"The database {home.database} cannot be used now: {error.orig}.",
        remedy="Try again in a moment.",
    )


def _disk_full(home: Home) -> PhoundryError:
    return InsufficientResources(
        f"The disk that holds {home.root} is full.",
        remedy="Free some space, then try again: what was acknowledged is kept.",
    )
