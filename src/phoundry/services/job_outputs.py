"""What a job has made, file by file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from phoundry.errors import NotFound
from phoundry.services import jobs
from phoundry.services.context import Context
from phoundry.specs.job import JobFile

PIECE = 1 << 20  # bytes in memory at once


def listing(context: Context, name: str) -> list[JobFile]:
    """Every file of the job's output folder, by its path in it; none before there is one."""
    folder = _folder(context, name)
    if folder is None:
        return []
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [
        JobFile(path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size)
        for path in found
    ]


def read(context: Context, name: str, path: str) -> Iterator[bytes]:
    """The bytes of one file, in pieces. Raises NotFound at once, also for a path outside."""
    known = [each.path for each in listing(context, name)]
    folder = _folder(context, name)
    if folder is None or path not in known:
        raise NotFound.named(f"output of job '{name}'", path, known)

    def pieces() -> Iterator[bytes]:
        with (folder / path).open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    return pieces()


def _folder(context: Context, name: str) -> Path | None:
    output = jobs.show(context, name).output
    return Path(output) if output else None
