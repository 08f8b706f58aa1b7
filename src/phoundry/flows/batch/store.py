"""The runs of a home: a folder each, found by name. What reads them needs no database."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from phoundry.errors import Conflict, NotFound, UsageError
from phoundry.flows.batch.folder import FILES, RECORD, Record, RunFolder

_NAME = re.compile(r"[A-Za-z0-9_][-_.A-Za-z0-9]{0,199}")
_UNSAFE = re.compile(r"[^-_.A-Za-z0-9]+")
# Workers of jobs, replicas and tasks have their folders beside the runs.
LEFT = 10.0  # seconds after which a folder without a record is nobody's who makes one just now
RESERVED = ("job-", "replica-", "parity-", "curves-", "task-", "register-")


class RunStore:
    """The runs in the folder `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __iter__(self) -> Iterator[Record]:
        """Every run, the newest first."""
        found: list[Record] = []
        if self.root.is_dir():
            for entry in os.scandir(self.root):
                if os.path.exists(os.path.join(entry.path, RECORD)):  # noqa: PTH110, PTH118 - hot
                    record = RunFolder(Path(entry.path)).read()
                    found += [record] if record is not None else []
        yield from sorted(found, key=lambda record: record.created, reverse=True)

    def folder(self, name: str) -> RunFolder:
        """The folder of the run `name`.

        Raises:
            NotFound: there is none.
        """
        if _NAME.fullmatch(name):
            folder = RunFolder(self.root / name)
            if (folder.path / RECORD).is_file():
                return folder
        raise NotFound.named("run", name, [record.name for record in self])

    def read(self, name: str) -> tuple[RunFolder, Record]:
        """The folder and the record of the run `name`.

        Raises:
            NotFound: there is none. Conflict: its record can't be read.
        """
        folder = self.folder(name)
        record = folder.read()
        if record is None:
            raise Conflict(
                f"The record of the run '{name}' can't be read: {folder.path / RECORD}.",
                remedy=f"Put that file right, or remove the run: phoundry run delete {name}",
            )
        return folder, record

    def make(self, name: str) -> RunFolder:
        """A new folder for the run `name`, for this user alone.

        Raises:
            UsageError: no name for a run.
            Conflict: there is one already.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"'{name}' cannot be the name of a run.",
                remedy="A name has letters, digits, '-', '_' and '.', 200 at most, and begins "
                "with a letter, a digit or '_'.",
            )
        if name.startswith(RESERVED):
            raise UsageError(
                f"'{name}' cannot be the name of a run: names that begin with "
                f"{', '.join(RESERVED)} are those of workers.",
            )
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / name
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            if not _left_over(path):
                raise Conflict(
                    f"There is a run '{name}' already.",
                    remedy=f"Take another --name, or remove it: phoundry run delete {name}",
                ) from None
            shutil.rmtree(path)
            path.mkdir(mode=0o700)
        return RunFolder(path)

    def delete(self, name: str) -> None:
        """Remove the run `name` and its files.

        Raises:
            NotFound: there is none.
            Conflict: a process works on it.
        """
        folder = self.folder(name)
        with folder.held():
            # Its record goes first: a kill leaves what nobody takes for a run.
            (folder.path / RECORD).unlink()
            shutil.rmtree(folder.path, ignore_errors=True)


def _left_over(path: Path) -> bool:
    """Whether `path` is what a kill left of a run that was being made or removed."""
    folder = RunFolder(path)
    if not path.is_dir() or (path / RECORD).exists() or folder.busy:
        return False
    names = {file.name for file in path.iterdir() if not file.name.startswith(".")}
    return names <= FILES and time.time() - path.stat().st_mtime > LEFT


def new_name(flow: str, variant: str | None) -> str:
    """As Prompt flow names a run: flow, variant, time to the microsecond."""
    which = (variant or "").strip("${}").rpartition(".")[2] or "variant_0"
    moment = datetime.now(UTC).strftime("%Y%m%d_%H%M%S_%f")
    words = _UNSAFE.sub("_", f"{flow}_{which}")[:160].lstrip(".-") or "flow"
    return f"{'flow_' if words.startswith(RESERVED) else ''}{words}_{moment}"
