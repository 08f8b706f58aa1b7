"""From what a user calls a source to files in the hands of the control plane."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from phoundry.client.transport import Transport
from phoundry.data import SourceFile, expand
from phoundry.errors import NotFound
from phoundry.specs.data import DataFile, Upload

# What happens, and how many bytes are done of how many (0: unknown).
Progress = Callable[[str, int, int], None]


def files_of(
    source: str, config: str | None, split: str | None, cache: Path, tell: Progress
) -> list[SourceFile]:
    """The files behind a path, a glob, or the id of a data set on the hub, which is fetched.

    Raises:
        NotFound: neither is there.
        InvalidInput: `config` or `split` for what has none, or one that is not there.
    """
    from phoundry.data import hub

    if config is None and split is None and not hub.is_dataset_id(source):
        return expand(source)
    return hub.fetch_dataset(
        source,
        config=config,
        split=split,
        cache_dir=cache,
        say=lambda text: tell(text, 0, 0),
    )


def named_source(source: str) -> str:
    """`source` as it is kept: a path or glob made absolute, so that it still means the same."""
    from phoundry.data import hub

    path = Path(source).expanduser()
    if path.exists() or not hub.is_dataset_id(source):
        return os.path.normpath(path.absolute())
    return source


def upload(transport: Transport, files: Sequence[SourceFile], tell: Progress) -> list[DataFile]:
    """Hand every file over, in order.

    Raises:
        NotFound: a file has gone meanwhile.
        InsufficientResources: the disk of the home is full.
    """
    total = sum(_size(file.path) for file in files)
    done = 0
    handed = list[DataFile]()
    for file in files:
        with _open(file.path) as opened:
            body = _Told(opened, lambda count, before=done: tell("Copying", before + count, total))
            kept = transport.one(
                Upload, "POST", "/api/data/files", params={"filename": file.name}, content=body
            )
        done += kept.bytes
        handed.append(DataFile(filename=file.name, sha256=kept.sha256))
    return handed


class _Told:
    """An open file that tells how much of it was read; httpx reads it and asks for its length."""

    def __init__(self, file: BinaryIO, tell: Callable[[int], None]) -> None:
        self._file, self._tell, self._count = file, tell, 0

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._count += len(piece)
        self._tell(self._count)
        return piece

    def fileno(self) -> int:
        return self._file.fileno()

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(1 << 16):
            yield piece


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.") from None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # opening it will say so
