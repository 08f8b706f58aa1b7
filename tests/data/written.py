"""Data sets written in every format and container that people have."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import zstandard
from pyarrow import parquet

from phoundry.data import AnyRow, RefusedRow, RowReader, SourceFile, open_rows

CONTAINERS = ("jsonl", "json", "csv", "tsv", "parquet")
CHAT_FORMATS = ("messages", "sharegpt", "alpaca", "prompt-completion", "question-answer")


def as_format(format: str, question: str, answer: str) -> dict[str, Any]:
    """One exchange as a row of `format`."""
    if format == "messages":
        turns = [("user", question), ("assistant", answer)]
        return {"messages": [{"role": role, "content": text} for role, text in turns]}
    if format == "sharegpt":
        turns = [("human", question), ("gpt", answer)]
        return {"conversations": [{"from": name, "value": text} for name, text in turns]}
    if format == "preference":
        return {"prompt": question, "chosen": answer, "rejected": f"{answer}?"}
    question_column, answer_column = {
        "alpaca": ("instruction", "output"),
        "prompt-completion": ("prompt", "completion"),
        "question-answer": ("q", "a"),
    }[format]
    return {"id": 7, question_column: question, answer_column: answer}


def as_bytes(container: str, rows: list[dict[str, Any]]) -> bytes:
    """The rows as a file. Cells of a table that are no text are written as JSON."""
    if container == "jsonl":
        return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
    if container == "json":
        return json.dumps(rows, ensure_ascii=False, indent=1).encode()
    if container == "parquet":
        sink = io.BytesIO()
        parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
        return sink.getvalue()
    text = io.StringIO(newline="")
    columns = list(dict.fromkeys(column for row in rows for column in row))
    writer = csv.writer(text, delimiter="\t" if container == "tsv" else ",")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return text.getvalue().encode()


def packed(compression: str, data: bytes) -> bytes:
    if compression == "gz":
        return gzip.compress(data, mtime=0)
    if compression == "zst":  # as the command does it: with a checksum
        return zstandard.ZstdCompressor(write_checksum=True).compress(data)
    return data


def read(path: Path, **options: Any) -> tuple[RowReader, list[AnyRow], list[RefusedRow]]:
    """The reader, the rows it gave, and those it refused."""
    reader = open_rows([SourceFile(path, path.name)], **options)
    everything = list(reader)
    refused = [row for row in everything if isinstance(row, RefusedRow)]
    return reader, [row for row in everything if not isinstance(row, RefusedRow)], refused


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
