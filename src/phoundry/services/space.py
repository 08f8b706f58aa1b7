"""A full disk, told with the place, what is free there and what is needed."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from phoundry.errors import InsufficientResources
from phoundry.files import in_words

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def room_for(what: str, folder: Path, needed: int) -> Generator[None]:
    """Do the block, which writes about `needed` bytes below `folder` (0: nobody knows).

    Raises:
        InsufficientResources: the disk is full. What the block had written is its own to remove.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise disk_full(what, folder, needed) from None


def disk_full(what: str, folder: Path, needed: int) -> InsufficientResources:
    """The error that says that `what` does not fit on the disk of `folder`."""
    needs = f"{what} needs about {in_words(needed)}" if needed else f"{what} does not fit"
    return InsufficientResources(
        f"The disk that holds {folder} is full: {needs}, and {in_words(free(folder))} are free.",
        remedy="Free some space (`phoundry prune` helps), or set PHOUNDRY_HOME to a larger disk. "
        "Nothing was kept of it.",
    )


def free(folder: Path) -> int:
    """Bytes that may still be written below `folder`, which need not be there yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
