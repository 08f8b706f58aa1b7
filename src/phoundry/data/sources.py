"""What a user names as a source on this machine: a file, a folder or a glob."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from phoundry.errors import InvalidInput, NotFound, nearest

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
COMPRESSIONS = (".gz", ".zst", ".zstd")
# What `datasets` writes beside the rows of a folder.
_NOT_ROWS = frozenset(
    {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source. `name` is what faults call it."""

    path: Path
    name: str


def expand(source: str) -> list[SourceFile]:
    """The files that `source` names, sorted by name.

    A folder stands for the data files in it and in the folders below, known by their endings; a
    named file, and what a glob finds, is taken whatever its ending. Hidden files are left out.

    Raises:
        NotFound: there is nothing of this name.
        InvalidInput: a folder without data files.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return [SourceFile(path, path.name)]
    if path.exists():
        raise InvalidInput(
            f"{path} is neither a file nor a folder.",
            remedy="Write what it gives into a file first: a source is read more than once.",
        )
    if "://" in source:
        raise _address(source)
    if not glob.has_magic(source):
        raise _missing(path)
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 - takes absolute patterns
    files = [file for file in found if file.is_file()]
    if not files:
        raise NotFound(
            f"No file matches {source}.",
            remedy="Quote a glob, such as 'chats/*.jsonl', so that the shell leaves it alone.",
        )
    return _named(files, Path(_fixed_part(str(path))))


def is_data_file(name: str) -> bool:
    """Whether a file's name ends as data files' names do: `.jsonl`, `.csv.gz`, …"""
    plain = name.lower()
    for ending in COMPRESSIONS:
        plain = plain.removesuffix(ending)
    return plain.endswith(SUFFIXES) and plain not in _NOT_ROWS


def _folder(folder: Path) -> list[SourceFile]:
    everything = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [
        path
        for path in everything
        if is_data_file(path.name)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if files:
        return _named(files, folder)
    there = ", ".join(path.name for path in everything[:5]) or "nothing"
    raise InvalidInput(
        f"The folder {folder} holds no data file; there is {there}.",
        remedy=f"Data files end in {', '.join(SUFFIXES)}, also with .gz or .zst after it.",
    )


def _named(files: Iterable[Path], base: Path) -> list[SourceFile]:
    """Names as short as they can be and still differ: relative to the folder."""
    return [
        SourceFile(
            path, path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)
        )
        for path in files
    ]


def _fixed_part(pattern: str) -> str:
    """The folders of a glob before the first wildcard."""
    parts = Path(pattern).parts
    fixed = [part for i, part in enumerate(parts) if not any(map(glob.has_magic, parts[: i + 1]))]
    return str(Path(*fixed)) if fixed else "."


def _address(source: str) -> InvalidInput:
    return InvalidInput(
        f"'{source}' is an address, and no address is fetched.",
        remedy="Download it and name the file. A data set of the hub is named OWNER/NAME.",
    )


def _missing(path: Path) -> NotFound:
    try:
        near = nearest(path.name, (other.name for other in path.parent.iterdir()))
    except OSError:
        near = []
    hint = f"Did you mean {', '.join(near)}?" if near else "Name a file, a folder or a glob."
    return NotFound(f"There is no file {path}.", remedy=hint)
