"""The flow as it was when a run began: a copy of its files, and their hash."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from phoundry.files import atomic_folder
from phoundry.flows.model import Flow

# What a flow's folder holds that is no part of the flow.
LEFT_OUT = frozenset(("__pycache__", "node_modules", "venv", "env", "runs"))
LARGEST = 10_000_000  # bytes of a file; larger ones are data
MOST_FILES = 2_000  # a prompty may stand in any folder at all


def flow_files(flow: Flow) -> list[tuple[Path, Path]]:
    """`(file, its place in a copy)` of the flow's folder and of what it includes, by place."""
    found: dict[Path, Path] = {Path(flow.file.name): flow.file}
    for file in _files(flow.root):
        found.setdefault(file.relative_to(flow.root), file)
        if len(found) > MOST_FILES:
            return [(flow.file, Path(flow.file.name))]
    for include in flow.additional_includes:
        shared = (flow.root / include).resolve()
        for file in [shared] if shared.is_file() else _files(shared):
            found.setdefault(file.relative_to(shared.parent), file)
    return [(file, place) for place, file in sorted(found.items())]


def _files(folder: Path) -> Iterator[Path]:
    for where, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if name not in LEFT_OUT and name[0] != ".")
        for name in sorted(files):
            file = Path(where, name)
            if file.is_file() and not file.is_symlink() and file.stat().st_size <= LARGEST:
                yield file


def flow_sha256(flow: Flow) -> str:
    """Hexadecimal SHA-256 over the places and bytes of the flow's files."""
    digest = hashlib.sha256()
    for file, place in flow_files(flow):
        digest.update(f"{place.as_posix()}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def keep_snapshot(flow: Flow, destination: Path) -> None:
    """Copy the flow's files to `destination`, all of them or nothing."""
    with atomic_folder(destination) as folder:
        for file, place in flow_files(flow):
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
