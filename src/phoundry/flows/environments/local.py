"""What stands in the files and folders of this machine that a requirements.txt installs.

An environment is made once, so it must be another one when these change.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from phoundry.flows.environments.requirements import Requirements, local_paths

# What an editable package is described by; its modules are used where they are.
_DESCRIBING = ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt")
_MADE = frozenset({"__pycache__", "build", "dist", "node_modules", "venv"})
_LARGE = 10_000_000  # bytes; of a larger file size and time count
_MOST = 20_000  # files of a folder that are looked at


def fingerprints(wanted: Requirements, root: Path) -> list[str]:
    """A hash for each local file or folder of `wanted`, in order; paths are seen from `root`."""
    found: list[str] = []
    for path, editable in local_paths(wanted):
        place = root / Path(path).expanduser()
        files = [place / name for name in _DESCRIBING] if editable else _files(place)
        content = hashlib.sha256()
        for file in files:
            if file.is_file():
                content.update(f"{file.relative_to(place) if file != place else ''}\0".encode())
                content.update(_content(file))
        found.append(content.hexdigest())
    return found


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    count = 0
    for folder, names, files in os.walk(place):
        names[:] = sorted(
            name
            for name in names
            if not name.startswith(".") and name not in _MADE and not name.endswith(".egg-info")
        )
        for name in sorted(files):
            if name.endswith(".pyc"):
                continue
            count += 1
            if count > _MOST:
                return
            yield Path(folder) / name


def _content(file: Path) -> bytes:
    try:
        stat = file.stat()
        if stat.st_size > _LARGE:
            return f"{stat.st_size} {stat.st_mtime_ns}".encode()
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError as error:  # gone meanwhile, or not ours to read: pip will say so
        return str(error.errno).encode()
