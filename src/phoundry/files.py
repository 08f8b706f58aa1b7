"""Writing so that nothing is ever half-written: temporary file, fsync, rename."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

PRIVATE = 0o600


def write_atomic(path: Path, content: bytes | str, *, mode: int = 0o644) -> None:
    """Replace `path` with `content`. Readers see the old bytes or the new ones, never a part."""
    with atomic_file(path, mode=mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_file(path: Path, *, mode: int = 0o644) -> Generator[BinaryIO]:
    """Yield a file whose bytes become `path` when the block ends well; else nothing has changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any, *, mode: int = 0o644) -> None:
    """`write_atomic` of `value` as indented UTF-8 JSON."""
    text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
    # A tool's text may hold half of a surrogate pair; json.loads reads it back.
    write_atomic(path, text.encode("utf-8", "surrogatepass"), mode=mode)


def read_json(path: Path) -> Any:
    """The JSON value in `path`, or None where there is no such file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


@contextmanager
def atomic_folder(destination: Path) -> Generator[Path]:
    """Yield an empty folder that becomes `destination` when the block ends well.

    An existing `destination` is replaced. After an error nothing is left. What a killed process
    has left of its work on the same destination is removed.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    remove_orphans(destination)
    prefix = f".{destination.name}.{os.getpid()}."
    working = Path(tempfile.mkdtemp(dir=destination.parent, prefix=prefix))
    try:
        yield working
        for file in working.rglob("*"):
            if file.is_file():
                sync_file(file)
        working.chmod(0o755)
        if destination.exists():
            old = Path(tempfile.mkdtemp(dir=destination.parent, prefix=prefix))
            destination.replace(old / "old")
            working.replace(destination)
            shutil.rmtree(old, ignore_errors=True)
        else:
            working.replace(destination)
    except BaseException:
        shutil.rmtree(working, ignore_errors=True)
        raise
    sync_folder(destination.parent)


def copy_to(source: Path, destination: Path) -> None:
    """Copy a file or a folder; `destination` is there whole or not at all."""
    if source.is_dir():
        with atomic_folder(destination) as folder:
            shutil.copytree(source, folder, dirs_exist_ok=True)
        return
    with source.open("rb") as reading, atomic_file(destination) as writing:
        shutil.copyfileobj(reading, writing, 1024 * 1024)


def remove_orphans(destination: Path) -> None:
    """Remove working files and folders of `destination` whose process is gone.

    They are called `.NAME.PID.…`, and of a base model they take gigabytes.
    """
    pattern = re.compile(rf"\.{re.escape(destination.name)}\.(\d+)\.\w+")
    for entry in destination.parent.iterdir():
        if (match := pattern.fullmatch(entry.name)) and not _exists(int(match[1])):
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0: only asks
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True


def sync_file(path: Path) -> None:
    """fsync the bytes of `path`."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """fsync the entries of a folder, so that a rename in it survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    return sha256_files([path])


def sha256_files(paths: Iterable[Path]) -> str:
    """Hexadecimal SHA-256 of the bytes of several files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def in_words(count: float) -> str:
    """`512 bytes`, `1.4 MB`, `12 GB`: decimal units, as disks are sold."""
    value, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return (
        f"{value:,.0f} {units[0]}"
        if value >= 10 or units[0] == "bytes"
        else f"{value:.1f} {units[0]}"
    )


def lock_held(path: Path) -> bool:
    """Whether some process holds the lock file `path`.

    Looking takes a shared lock for a moment, so that two who look never see one another.
    """
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
