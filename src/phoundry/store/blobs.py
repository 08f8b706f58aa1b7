"""Bytes by the SHA-256 of their content. A blob never changes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from phoundry.errors import Conflict, NotFound
from phoundry.files import sha256_file, sync_file, sync_folder, write_atomic


class Blobs:
    """A folder of blobs: `root/ab/abcdef…`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, content: bytes) -> str:
        """Keep `content`; returns its hexadecimal SHA-256."""
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        if not _whole(path, digest):
            write_atomic(path, content)
        return digest

    def put_file(self, source: Path) -> str:
        """Keep the bytes of `source`, a file of the same disk, which is gone then.

        Nothing is copied and nothing held in memory. Returns the hexadecimal SHA-256.
        """
        digest = sha256_file(source)
        path = self._path(digest)
        if _whole(path, digest):
            # Younger than any sweep of blobs that nobody refers to yet.
            path.touch()
            source.unlink()
            return digest
        path.parent.mkdir(parents=True, exist_ok=True)
        sync_file(source)
        source.replace(path)
        sync_folder(path.parent)
        return digest

    def path(self, digest: str) -> Path:
        """Where the bytes of `digest` are. Raises NotFound."""
        path = self._path(digest)
        if not path.exists():
            raise NotFound(
                f"The data with SHA-256 {digest[:12]}… is missing from {self.root}.",
                remedy="Create the data asset again from its source.",
            )
        return path

    def intact(self, digest: str) -> Path:
        """`path`, once its bytes were found to be what they were: a disk may spoil them.

        Raises:
            NotFound: they are missing.
            Conflict: they have changed.
        """
        path = self.path(digest)
        if not _whole(path, digest):
            raise Conflict(
                f"The data with SHA-256 {digest[:12]}… has changed in {path}.",
                remedy="Create the data asset again from its source: that mends it.",
            )
        return path

    def _path(self, digest: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise NotFound(f"'{digest}' is not a SHA-256.")
        return self.root / digest[:2] / digest


def _whole(path: Path, digest: str) -> bool:
    """Whether the blob is there and undamaged: one that the disk has spoilt is written anew."""
    return path.exists() and sha256_file(path) == digest
