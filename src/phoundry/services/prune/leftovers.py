"""What nothing uses any more: it goes without a loss."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.services.prune.uses import Uses
from phoundry.services.uploads import ABANDONED
from phoundry.settings import Home
from phoundry.specs.care import Prunable
from phoundry.store.tables import DeploymentRow, JobRow

FRESH = 3600.0  # seconds: what is younger may be on its way to being used
COLLECTED = 30 * 24 * 3600.0  # what a deleted deployment has collected may be wanted for so long
LOG = "log"
LOG_BYTES = 10_000_000  # a log that is larger is shortened …
KEPT_BYTES = 1_000_000  # … to its newest lines
_WORKING = re.compile(r"\..+\.(\d+)\.\w+")  # of `files.atomic_folder`


def blobs(home: Home, uses: Uses) -> Iterator[Prunable]:
    for path in _files(home.blobs, "*/*"):
        named = path.name in uses.digests or uses.has(path)
        if not named and _age(path) > FRESH:
            yield item("blob", path.name[:12], path, "no data asset has it")


def uploads(home: Home) -> Iterator[Prunable]:
    folder = home.cache / "uploads"
    for path in folder.iterdir() if folder.is_dir() else ():
        if _age(path) > ABANDONED:
            yield item("upload", path.name[:20], path, "handed over and never made a data asset")


def working(home: Home) -> Iterator[Prunable]:
    """Folders in which a process that is gone was making something."""
    caches = [home.cache, *_folders(home.cache), *_folders(home.cache / "datasets")]
    for place in (home.checkpoints, *caches, home.mlflow / "artifacts"):
        for path in place.glob(".*") if place.is_dir() else ():
            found = _WORKING.fullmatch(path.name)
            if found and not workers.exists(int(found[1])) and _age(path) > FRESH:
                yield item("unfinished", path.name, path, "its process is gone")


def runs(home: Home, uses: Uses) -> Iterator[Prunable]:
    """Folders of workers of resources that are gone. Batch runs of flows are users' to delete."""
    for path in _folders(home.runs):
        if (
            path.name not in uses.folders
            and not (path / "run.json").is_file()
            and _age(path) > FRESH
            and not workers.inspect(path).running
        ):
            yield item("run folder", path.name, path, "of something that is deleted")


def checkpoints(session: Session) -> Iterator[Prunable]:
    """A completed job needs none: only failed and cancelled ones go on from them."""
    for row in session.scalars(select(JobRow).filter_by(status="Completed")):
        path = Path(row.run_dir) / "checkpoints"
        if path.is_dir() and not workers.inspect(path.parent).running:
            yield item("checkpoints", row.name, path, "the job is completed")


def collected(home: Home, session: Session) -> Iterator[Prunable]:
    """What users said to deployments that are deleted since."""
    rows = session.scalars(select(DeploymentRow))
    present = {(row.endpoint, row.name) for row in rows}
    for endpoint in _folders(home.collected):
        for path in _folders(endpoint):
            if (endpoint.name, path.name) not in present and age(path) > COLLECTED:
                name = f"{endpoint.name}/{path.name}"
                yield item("collected data", name, path, "its deployment was deleted, a month ago")


def logs(home: Home) -> Iterator[Prunable]:
    for path in (*_files(home.logs, "*.log"), home.routes.parent / "log.txt"):
        size = path.stat().st_size if path.exists() else 0
        if size > LOG_BYTES:
            why = f"only its newest {KEPT_BYTES // 1_000_000} MB are kept"
            yield Prunable(
                kind=LOG, name=path.name, bytes=size - KEPT_BYTES, why=why, path=str(path)
            )


def shorten(path: Path) -> None:
    """Keep the newest lines. The file stays the same one: whoever writes has it open to append."""
    with path.open("r+b") as file:
        file.seek(max(0, path.stat().st_size - KEPT_BYTES))
        kept = file.read().partition(b"\n")[2]
        file.seek(0)
        file.truncate()
        file.write(kept)


def trash(home: Home) -> Iterator[Prunable]:
    """What a pruning that was killed had moved aside."""
    for path in home.root.glob("trash-*"):
        if _age(path) > FRESH:
            yield item("trash", path.name, path, "left by a pruning that was cut off")


def item(kind: str, name: str, path: Path, why: str, *, again: bool = False) -> Prunable:
    return Prunable(kind=kind, name=name, bytes=weight(path), why=why, path=str(path), again=again)


def weight(path: Path) -> int:
    """Bytes that removing `path` frees: a file that has another name elsewhere frees none."""
    if not path.is_dir() or path.is_symlink():
        return _bytes(path)
    return sum(_bytes(Path(folder) / name) for folder, _, names in os.walk(path) for name in names)


def _bytes(path: Path) -> int:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    return found.st_size if found.st_nlink == 1 else 0


def _age(path: Path) -> float:
    """Seconds since the newest change of `path` or of something right inside it."""
    try:
        times = [path.stat().st_mtime]
        if path.is_dir():
            times += [each.lstat().st_mtime for each in path.iterdir()]
    except FileNotFoundError:
        return 0.0  # it changes this very moment
    return time.time() - max(times)


def age(path: Path) -> float:
    """As `_age`, over everything below `path`."""
    newest = max((_newest(Path(folder)) for folder, _, _ in os.walk(path)), default=0.0)
    return min(_age(path), time.time() - newest)


def _newest(folder: Path) -> float:
    return time.time() - _age(folder)


def _files(folder: Path, pattern: str) -> Iterator[Path]:
    return (path for path in sorted(folder.glob(pattern)) if path.is_file())


def _folders(folder: Path) -> Iterator[Path]:
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return (path for path in found if path.is_dir() and not path.name.startswith("."))
