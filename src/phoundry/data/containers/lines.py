"""JSON lines: a JSON value a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from phoundry.data.containers import records
from phoundry.data.containers.streams import skip_bom
from phoundry.data.json_text import load_json
from phoundry.data.row import BadRow


def json_lines(file: BinaryIO) -> Iterator[records.Record]:
    """A record for each line that is not blank."""
    skip_bom(file)
    for number, line in enumerate(bounded_lines(file), start=1):
        if len(line) > records.MAX_ROW_BYTES:
            yield number, records.too_long()
        elif not line.isspace():
            try:
                value = load_json(line)
            except BadRow as bad:
                yield number, bad
            else:
                yield number, value


def bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines of a binary file; of one that is too long, `MAX_ROW_BYTES + 1` bytes and no more."""
    limit = records.MAX_ROW_BYTES
    while line := file.readline(limit + 1):
        yield line
        rest = line
        while len(rest) > limit and not rest.endswith(b"\n"):
            rest = file.readline(limit + 1)
