"""After the last line: the files that people and scripts read, in the order of the lines.

Each is written beside its place and renamed, one line in memory at a time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

from phoundry.files import PRIVATE, atomic_file, write_json
from phoundry.flows.batch.folder import Record, RunFolder
from phoundry.flows.batch.journal import Index, ended_lines
from phoundry.flows.batch.mapping import LINE_NUMBER
from phoundry.flows.batch.reading import fields
from phoundry.flows.batch.text import LENIENT, line_of


def finish(folder: RunFolder, record: Record, index: Index) -> None:
    """Write `outputs.jsonl`, `flow_outputs/`, `metrics.json`, `error.json` and `logs.txt`."""
    first: dict[str, Any] | None = None
    with (
        atomic_file(folder.outputs, mode=PRIVATE) as outputs,
        atomic_file(folder.log, mode=PRIVATE) as log,
        atomic_file(folder.line_errors, mode=PRIVATE) as errors,
    ):
        for line in ended_lines(index, folder.journal):
            number = line[LINE_NUMBER]
            if line["status"] == "Completed":
                outputs.write(line_of({LINE_NUMBER: number, **fields(line["output"])}))
            else:
                error: dict[str, Any] = line.get("error") or {}
                errors.write(line_of({LINE_NUMBER: number, "error": _nested(error)}))
                first = first or error
            if text := line.get("log"):
                log.write(_log(f"line {number}", text))
        if folder.aggregation_log.exists():
            log.write(_log("aggregation", folder.aggregation_log.read_text(encoding="utf-8")))
    _same_file(folder)
    write_json(folder.metrics, record.metrics, mode=PRIVATE)
    _errors(folder, record, first)


def _log(where: str, text: str) -> bytes:
    lines = (f"[{where}] {line}\n" for line in text.splitlines())
    return "".join(lines).encode("utf-8", LENIENT)


def _same_file(folder: RunFolder) -> None:
    """`flow_outputs/output.jsonl`: the same bytes under the other name that scripts read."""
    folder.flow_outputs.parent.mkdir(exist_ok=True)
    folder.flow_outputs.unlink(missing_ok=True)
    try:
        os.link(folder.outputs, folder.flow_outputs)
    except OSError:  # a file system without links
        shutil.copyfile(folder.outputs, folder.flow_outputs)


def _errors(folder: RunFolder, record: Record, first: dict[str, Any] | None) -> None:
    """`error.json` as Prompt flow has it: a summary, and every failure in `additionalInfo`.

    A run without a failure has no such file.
    """
    top = record.error or first or record.aggregation_error
    if top is None:
        folder.errors.unlink(missing_ok=True)
        folder.line_errors.unlink(missing_ok=True)
        return
    counts = record.lines
    said = f"First error message is: {top.get('message', '')}"
    if counts.failed:
        said = f"Failed to run {counts.failed}/{counts.total} lines. {said}"
    head = _nested({"message": said, "codes": ["UserError", "SDKError", "BulkRunException"]})
    with atomic_file(folder.errors, mode=PRIVATE) as file:
        file.write(line_of(head)[:-2])  # without its last brace
        file.write(b', "additionalInfo": [{"type": "BulkRunErrors", "info": {"errors": [')
        between = b""
        with folder.line_errors.open("rb") as lines:
            for line in lines:
                file.write(between + line.rstrip(b"\n"))
                between = b",\n"
        for node, error in _of_aggregation(record).items():
            body = {"error": _nested(error), "aggregation_node_name": node}
            file.write(between + line_of(body).rstrip(b"\n"))
            between = b",\n"
        file.write(b"]}}]}\n")
    folder.line_errors.unlink(missing_ok=True)


def _nested(error: Mapping[str, Any]) -> dict[str, Any]:
    """An error with its codes nested, as Prompt flow writes it, and as our own list."""
    inner: dict[str, Any] | None = None
    codes: list[str] = error.get("codes") or [str(error.get("code", "UserError"))]
    for code in reversed(codes):
        inner = {"code": code, "innerError": inner}
    return {"message": "", **error, **(inner or {})}


def _of_aggregation(record: Record) -> dict[str, Any]:
    if record.aggregation_error is None:
        return {}
    failed = [node for node, status in record.aggregation_nodes.items() if status == "Failed"]
    return {(failed or ["aggregation"])[0]: record.aggregation_error}
