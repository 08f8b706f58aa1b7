"""The flow as it was when a run began: a copy of its files, and their hash.

Where people keep keys belongs into no copy: neither into a run's snapshot, which outlives the key's
place, nor into what is built or deployed of a flow. `flow_files` is the one list for all of them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from phoundry.files import atomic_folder
from phoundry.flows.includes import sources
from phoundry.flows.model import Flow

# What a flow's folder holds that is no part of the flow.
LEFT_OUT = frozenset(("__pycache__", "node_modules", "venv", "env", "runs"))
# Files that hold secrets, by name in lower case.
SECRET_NAMES = (
    ".env*", "*.env", ".netrc", ".pypirc", ".npmrc", ".pgpass", ".git-credentials", "id_rsa*",
    "id_dsa*", "id_ecdsa*", "id_ed25519*", "*.pem", "*.key", "*.crt", "*.cer", "*.der", "*.p8",
    "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk", "*.gpg", "*.asc",
)  # fmt: skip
LARGEST = 10_000_000  # bytes of a file; larger ones are data
MOST_FILES = 2_000  # a prompty may stand in any folder at all


def holds_secrets(name: str) -> bool:
    """Whether a file of this name is one where people keep keys, passwords or certificates."""
    return any(fnmatchcase(name.lower(), pattern) for pattern in SECRET_NAMES)


def flow_files(flow: Flow) -> list[tuple[Path, Path]]:
    """`(file, its place in a copy)` of the flow's folder and over it of what it includes, by place,
    without the files that `holds_secrets` names; the flow's file alone where there are too many."""
    found: dict[Path, Path] = {}
    for file in files_in(flow.root):
        found[file.relative_to(flow.root)] = file
        if len(found) > MOST_FILES:
            return [(flow.file, Path(flow.file.name))]
    for shared in sources(flow):
        alone = shared.is_file() and not holds_secrets(shared.name)
        for file in [shared] if alone else files_in(shared):
            found[file.relative_to(shared.parent)] = file
    found[Path(flow.file.name)] = flow.file
    return [(file, place) for place, file in sorted(found.items())]


def files_in(folder: Path) -> Iterator[Path]:
    """The files below `folder` that a copy of it has."""
    for where, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if name not in LEFT_OUT and name[0] != ".")
        for name in sorted(files):
            file = Path(where, name)
            if holds_secrets(name) or file.is_symlink() or not file.is_file():
                continue
            if file.stat().st_size <= LARGEST:
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
