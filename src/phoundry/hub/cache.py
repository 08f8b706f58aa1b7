"""The user's own cache of Hugging Face (`HF_HOME`): read, never written."""

from __future__ import annotations

import re
from pathlib import Path

from phoundry.files import sha256_file
from phoundry.hub.kinds import Kind
from phoundry.hub.place import user_cache

_SHA256 = re.compile(r"[0-9a-f]{64}")


def repositories(kind: Kind) -> list[str]:
    """Ids of the repositories of which the cache holds a snapshot, by name."""
    start = f"{kind.name}s--"
    found = user_cache().glob(f"{start}*/snapshots/*")
    names = {folder.parent.parent.name.removeprefix(start) for folder in found}
    return sorted(name.replace("--", "/", 1) for name in names)


def snapshot(hub_id: str, kind: Kind) -> Path | None:
    """The cached snapshot of the branch `main`, whole or not, or None."""
    folder = user_cache() / f"{kind.name}s--{hub_id.replace('/', '--')}"
    try:
        commit = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    found = folder / "snapshots" / commit
    return found if commit and found.is_dir() else None


def damaged(folder: Path) -> list[str]:
    """Files of a snapshot whose bytes are not those that were cached, by name.

    The cache links each large file to a blob that is named by its SHA-256. Nothing can be said of
    others, nor of a cache without links.
    """
    found: list[str] = []
    for path in sorted(folder.rglob("*")):
        if not path.is_symlink():
            continue
        digest = path.readlink().name
        whole = path.is_file() and (not _SHA256.fullmatch(digest) or sha256_file(path) == digest)
        if not whole:
            found.append(str(path.relative_to(folder)))
    return found
