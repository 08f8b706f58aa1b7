"""Logs of workers, a part at a time."""

from __future__ import annotations

from pathlib import Path

from phoundry.specs.job import LogChunk


def read_log(path: Path, offset: int, *, finished: bool, limit: int = 1 << 20) -> LogChunk:
    """Up to `limit` bytes of a log, cut at a line's end while it still grows."""
    if not path.exists():
        return LogChunk(text="", offset=offset, finished=finished)
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(limit)
    full = len(content) == limit
    if full or not finished:
        whole = content[: content.rfind(b"\n") + 1]
        content = whole if whole or not full else content  # a line may be longer than the limit
    text = content.decode(errors="replace")
    return LogChunk(text=text, offset=offset + len(content), finished=finished and not full)
