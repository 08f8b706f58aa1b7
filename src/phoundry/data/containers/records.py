"""Records, and what becomes of a file that breaks off or is damaged."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, TypeAlias

from phoundry.data.row import BadRow

# Line and value; a value that is a BadRow is a row that can't be read.
Record: TypeAlias = tuple[int, Any]

# A row is a conversation: beyond this it is another kind of file, and would only fill the memory.
MAX_ROW_BYTES = 32 * 1024 * 1024

CUT = "the file ends in the middle"


class Broken(BadRow):
    """From this line on, nothing can be read."""

    def __init__(self, line: int, kind: str, reason: str) -> None:
        super().__init__(kind, reason)
        self.line = line


def too_long() -> BadRow:
    return BadRow("row too long", f"longer than {MAX_ROW_BYTES // 1024**2} MiB")


def guarded(records: Iterator[Record]) -> Iterator[Record]:
    """The records; where the file breaks, one last record says so."""
    line = 0
    try:
        for record in records:
            line = record[0]
            yield record
    except Broken as broken:
        yield broken.line, broken
    except EOFError:  # gzip
        yield line + 1, BadRow("file cut", f"{CUT}; nothing after this can be read")
    except (OSError, zlib.error) as error:
        if "runcated" in str(error):  # zstd, from Arrow
            yield line + 1, BadRow("file cut", f"{CUT}; nothing after this can be read")
        else:
            reason = f"the file is damaged ({error}), so what came before may be wrong too"
            yield line + 1, BadRow("file damaged", reason)
