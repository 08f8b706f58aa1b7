"""Find out how a file is written: by its first bytes, and where these leave it open, its ending."""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from phoundry.data.containers import records
from phoundry.data.containers.json_document import document_rows
from phoundry.data.containers.lines import json_lines
from phoundry.data.containers.parquet import parquet_columns, parquet_rows
from phoundry.data.containers.streams import (
    BOM,
    Compression,
    compression_of,
    open_stream,
    refuse_other,
)
from phoundry.data.containers.table import DELIMITERS, delimiter_of, table_rows
from phoundry.data.sources import COMPRESSIONS, SourceFile
from phoundry.errors import InvalidInput
from phoundry.specs.data import Container

_JSON_START = re.compile(rb"\s*[\[{]+\s*([\"\]}\[{]|$)")
# What may come after a bracket that stands alone on the first line of a document.
_INSIDE = {b"{": (b'"', b"}"), b"[": (b"{", b"[", b"]", b'"')}
_BROKEN = (EOFError, OSError, zlib.error)


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that was looked into."""

    file: SourceFile
    container: Container
    compression: Compression | None = None
    delimiter: str = ","
    had_bom: bool = False
    columns: tuple[str, ...] | None = None  # where the container has them: Parquet

    @property
    def notices(self) -> list[str]:
        """What was put right or guessed."""
        told: list[str] = []
        if self.had_bom:
            told.append(f"{self.file.name}: a byte order mark at the start was taken off.")
        if self.container == "csv" and self.delimiter != ",":
            told.append(f"{self.file.name}: its cells are parted by {DELIMITERS[self.delimiter]}.")
        return told


def look_into(file: SourceFile) -> Opened:
    """How `file` is written.

    Raises:
        NotFound: no such file.
        InvalidInput: nothing that holds rows.
        MissingDependency: Parquet or zstd, without the package for it.
    """
    with file.path.open("rb") if file.path.is_file() else open_stream(file.path, file.name) as raw:
        start = raw.read(16)
    if start.startswith(b"PAR1"):
        columns = parquet_columns(file.path, file.name)
        return Opened(file, "parquet", columns=tuple(columns))
    compression = compression_of(start)
    with open_stream(file.path, file.name) as stream:
        head = _head(stream)
        if compression:
            refuse_other(head, file.name)
            if head.startswith(b"PAR1"):
                raise InvalidInput(
                    f"{file.name} is Parquet inside {compression}.",
                    remedy="Unpack it first: Parquet packs its own pages.",
                )
        container, delimiter = _container(file, stream, head.removeprefix(BOM))
    return Opened(file, container, compression, delimiter, head.startswith(BOM))


def read_records(opened: Opened, columns: Sequence[str] | None = None) -> Iterator[records.Record]:
    """The file's records, as a stream; a file that breaks off ends with a `BadRow` that says so."""
    file = opened.file
    if opened.container == "parquet":
        yield from records.guarded(parquet_rows(file.path, file.name, columns))
        return
    with open_stream(file.path, file.name) as stream:
        if opened.container == "jsonl":
            found = json_lines(stream)
        elif opened.container == "json":
            found = document_rows(stream)
        else:
            found = table_rows(stream, opened.delimiter, file.name)
        yield from records.guarded(found)


def _head(stream: BinaryIO) -> bytes:
    try:
        return cast("io.BufferedReader", stream).peek(1)
    except _BROKEN:
        return b""  # reading says why


def _container(file: SourceFile, stream: BinaryIO, head: bytes) -> tuple[Container, str]:
    ending = _ending(file.name)
    start = head.lstrip()[:1]
    is_table = ending in ("csv", "tsv") and not _JSON_START.match(head)
    if start in (b"{", b"[") and not is_table:
        return ("json" if _is_document(stream, start, ending) else "jsonl"), ","
    if ending in ("csv", "tsv") or (start and ending not in ("jsonl", "ndjson", "json")):
        delimiter = delimiter_of(head)
        if delimiter is None and ending not in ("csv", "tsv"):
            return "jsonl", ","
        delimiter = delimiter or ("\t" if ending == "tsv" else ",")
        return ("tsv" if delimiter == "\t" else "csv"), delimiter
    return ("json" if ending == "json" else "jsonl"), ","


def _is_document(stream: BinaryIO, start: bytes, ending: str) -> bool:
    """Whether text that begins like JSON is one document and not a value a line."""
    line = _next_line(stream).removeprefix(BOM).strip()
    if line in (b"{", b"["):  # a document with line ends, or a row that breaks off at once
        after = _next_line(stream).lstrip()[:1]
        return not after or after in _INSIDE[line]
    if start == b"[" and ending not in ("jsonl", "ndjson"):
        return True
    if start == b"{" and ending != "json":
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    # A value on a line of its own is the document, unless lines follow it.
    return not _next_line(stream)


def _next_line(stream: BinaryIO) -> bytes:
    """The next line that is not blank; empty at the end, and where the stream breaks off."""
    try:
        while line := stream.readline(records.MAX_ROW_BYTES + 1):
            if not line.isspace():
                return line
    except _BROKEN:
        pass
    return b""


def _ending(name: str) -> str:
    plain = name.lower()
    for packed in COMPRESSIONS:
        plain = plain.removesuffix(packed)
    return plain.rpartition(".")[2]
