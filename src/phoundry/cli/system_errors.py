"""What the system refuses, in our words: no traceback for a full disk or a file of someone else."""

from __future__ import annotations

import errno
import os

from phoundry.errors import Forbidden, InsufficientResources, PhoundryError, Unavailable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_MANY = (errno.EMFILE, errno.ENFILE)


def of_system(error: OSError) -> PhoundryError:
    """`error` as one of the tree, with what to do about it."""
    reason = error.strerror or str(error) or type(error).__name__
    at = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
    told = f"{reason}{at}."
    if error.errno in _FULL:
        return InsufficientResources(
            told, remedy="Free some space: `phoundry prune` says what can be made again."
        )
    if error.errno in _DENIED:
        return Forbidden(told, remedy="Look whose it is with `ls -ld`, or name another place.")
    if error.errno in _MANY:
        return InsufficientResources(told, remedy="Allow more open files: ulimit -n 4096")
    return Unavailable(told, remedy="`phoundry doctor` looks for what this machine lacks.")
