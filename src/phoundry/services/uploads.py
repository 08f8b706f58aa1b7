"""Files on their way to becoming data: streamed to disk, taken up once, swept if nobody came.

An upload is a file `<sha256>.<random>` in the home's cache. Creating an asset takes one up by
renaming it, which only one caller can do, so that two that handed over the same bytes at once do
not take each other's file away.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from phoundry.errors import NotFound
from phoundry.services.context import Context, authorize
from phoundry.services.space import disk_full, free, room_for
from phoundry.specs.data import DataFile, Upload

ABANDONED = 24 * 3600.0  # seconds: nobody takes that long between handing over and creating


class Receiver:
    """One file that comes in pieces. It is there for others once `finish` has returned."""

    def __init__(self, folder: Path, filename: str, expected: int) -> None:
        self._what, self._folder, self._expected = f"'{filename}'", folder, expected
        with room_for(self._what, folder, expected):
            folder.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=folder, prefix="incoming-")
        self._path = Path(temporary)
        self._file = os.fdopen(handle, "wb")
        self._hash = hashlib.sha256()
        self._bytes = 0

    def write(self, piece: bytes) -> None:
        """Raises InsufficientResources where the disk is full."""
        self._bytes += len(piece)
        self._hash.update(piece)
        with room_for(self._what, self._folder, max(self._expected, self._bytes)):
            self._file.write(piece)

    def finish(self) -> Upload:
        with room_for(self._what, self._folder, max(self._expected, self._bytes)):
            self._file.close()
        digest = self._hash.hexdigest()
        random = self._path.name.removeprefix("incoming-")
        self._path = self._path.replace(self._folder / f"{digest}.{random}")
        return Upload(sha256=digest, bytes=self._bytes)

    def abandon(self) -> None:
        """Nothing stays."""
        self._path.unlink(missing_ok=True)
        with suppress(OSError):  # the disk is full: what it could not write is not wanted any more
            self._file.close()


def folder_of(context: Context) -> Path:
    return context.home.cache / "uploads"


@contextmanager
def receiving(context: Context, filename: str, expected: int = 0) -> Generator[Receiver]:
    """Take in one file of about `expected` bytes; after an error nothing of it is left.

    Raises:
        InsufficientResources: there is not so much room, or the disk is full.
    """
    authorize(context.principal, "data/write", context.workspace)
    folder = folder_of(context)
    _sweep(folder)
    if expected > free(folder):
        raise disk_full(f"'{filename}'", folder, expected)
    receiver = Receiver(folder, filename, expected)
    try:
        yield receiver
    except BaseException:
        receiver.abandon()
        raise


@contextmanager
def taken_up(context: Context, files: list[DataFile]) -> Generator[tuple[Path, list[Path]]]:
    """A folder to work in, and in it each of `files`. All of it is gone at the end.

    Raises:
        NotFound: a file was not handed over, or was taken up before.
    """
    folder = folder_of(context)
    with room_for("The work on a data asset", folder, 0):
        folder.mkdir(parents=True, exist_ok=True)
        working = Path(tempfile.mkdtemp(dir=folder, prefix="working-"))
    try:
        yield working, [_take(folder, working, place, file) for place, file in enumerate(files)]
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _take(folder: Path, working: Path, place: int, file: DataFile) -> Path:
    for found in sorted(folder.glob(f"{file.sha256}.*")):
        try:
            return found.replace(working / f"source-{place}")
        except FileNotFoundError:
            continue  # somebody else was faster; there may be another one
    raise NotFound(
        f"The bytes of '{file.filename}' ({file.sha256[:12]}…) are not here.",
        remedy="Hand the file over with `POST /api/data/files`: each upload serves one asset.",
    )


def _sweep(folder: Path) -> None:
    """Remove what was handed over long ago and never taken up."""
    if not folder.is_dir():
        return
    oldest = time.time() - ABANDONED
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime > oldest:
                continue
        except FileNotFoundError:
            continue  # another one sweeps
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
