"""What is known of a GGUF file that was made here, kept beside it.

`.NAME.json` holds the result of the conversion: the file's SHA-256, what it was made of, notices
and what the check has measured. A file without it, or with other bytes than it says, is made again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from phoundry.files import (
    read_json,
    remove_orphans,
    sha256_file,
    sha256_files,
    sync_file,
    sync_folder,
    write_json,
)
from phoundry.models.checkpoints import unchanged, wanted_files
from phoundry.models.tensors import sha256_weights


def source_of(folder: Path, sha256: str | None) -> str:
    """What identifies a checkpoint: SHA-256 of its weights, and of its other files.

    Raises:
        ModelError: the weights are no longer those that `sha256` was taken of.
    """
    unchanged(folder, sha256)
    others = [path for path in wanted_files(folder) if ".safetensors" not in path.name]
    return f"{sha256 or sha256_weights(folder)}-{sha256_files(others)}"


def record_path(gguf: Path) -> Path:
    return gguf.with_name(f".{gguf.name}.json")


def keep(gguf: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Write down and return `result` of the conversion that made `gguf`."""
    write_json(record_path(gguf), result)
    return result


def recorded(gguf: Path) -> dict[str, Any] | None:
    """What is known of `gguf`, or None. The file itself is not read."""
    try:
        found: Any = read_json(record_path(gguf))
    except ValueError:
        return None  # a damaged record is no record
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def complete(gguf: Path) -> bool:
    """Whether the file is there, with as many bytes as are known of it; they are not read."""
    if not gguf.is_file():
        return False
    found = recorded(gguf)
    return found is None or found.get("bytes") == gguf.stat().st_size


def reusable(gguf: Path, source: str, quantization: str) -> dict[str, Any] | None:
    """The result that made `gguf`, if it was made of the same and has the same bytes."""
    found = recorded(gguf)
    if found is None or not gguf.is_file():
        return None
    if (found.get("source"), found.get("quantization")) != (source, quantization):
        return None
    return found if found.get("sha256") == sha256_file(gguf) else None


@contextmanager
def new_file(path: Path) -> Generator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_orphans(path)  # what a killed conversion left: gigabytes
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        sync_file(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
