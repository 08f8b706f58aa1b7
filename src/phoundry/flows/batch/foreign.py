"""A run's folder as Prompt flow left it: what lines were given and gave, and what is said of it.

    ~/.promptflow/pf.sqlite            table run_info: names, times, flow, mapping of every run
    ~/.promptflow/.runs/NAME/          or a folder that `pfazure run download` wrote
        run_metadata.json              of a downloaded one: in place of the row in pf.sqlite
        inputs.jsonl, outputs.jsonl    with `line_number`; flow_outputs/output.jsonl is the same
        error.json                     the lines that failed, in additionalInfo
        metrics.json, logs.txt, snapshot/

`flow_artifacts/`, `node_artifacts/` and `flow_logs/`, a file a line, are not read.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phoundry.errors import Fault, InvalidInput, NotFound
from phoundry.flows.batch.mapping import LINE_NUMBER
from phoundry.flows.document import is_list, is_mapping

Row = dict[str, Any]
METADATA, DATABASE = "run_metadata.json", "pf.sqlite"
_KEYS = ("display_name", "description", "status", "created_on", "start_time", "end_time", "data")


@dataclass(slots=True)
class ForeignRun:
    """`inputs`, `outputs` and `errors` by line number, the inputs in ascending order. `facts` are
    the columns of `run_info`, `tags` and `properties` decoded; empty where nothing is known."""

    path: Path
    inputs: dict[int, Row]
    outputs: dict[int, Row]
    errors: dict[int, Row]
    metrics: Row = field(default_factory=dict[str, Any])
    facts: Row = field(default_factory=dict[str, Any])

    @property
    def properties(self) -> Row:
        """`flow_path`, `column_mapping`, … as far as they are known."""
        return _mapping(self.facts.get("properties"))

    @property
    def tags(self) -> dict[str, str]:
        return {str(key): str(text) for key, text in _mapping(self.facts.get("tags")).items()}


def read_run(path: Path) -> ForeignRun:
    """The run in the folder `path`; all of it is in memory.

    Raises:
        NotFound: no folder, or none of a run.
        InvalidInput: every line of its files that can't be read.
    """
    if not (path / "inputs.jsonl").is_file():
        raise NotFound(
            f"{path} is no run that Prompt flow wrote: it has no inputs.jsonl.",
            remedy="Give the folder of one run, such as ~/.promptflow/.runs/NAME.",
        )
    faults: list[Fault] = []
    outputs = next(
        (each for name in ("outputs.jsonl", "flow_outputs/output.jsonl")
         if (each := path / name).is_file()),
        None,
    )  # fmt: skip
    run = ForeignRun(
        path,
        dict(sorted(_rows(path / "inputs.jsonl", faults).items())),
        _rows(outputs, faults) if outputs else {},
        _errors(_document(path / "error.json", faults)),
        _document(path / "metrics.json", faults),
        _document(path / METADATA, faults) or _of_database(path),
    )
    for number in sorted({*run.outputs, *run.errors} - run.inputs.keys()):
        faults.append(Fault("inputs.jsonl", f"line_number {number} has a result and no inputs"))
    if faults:
        raise InvalidInput(f"The run in {path} can't be read in.", faults=faults)
    return run


def _rows(file: Path, faults: list[Fault]) -> dict[int, Row]:
    """Rows by their `line_number`; those without one count from 0."""
    found: dict[int, Row] = {}
    for place, line in enumerate(_lines(file, faults)):
        where = f"{file.name}:{place + 1}"
        try:
            row: Any = json.loads(line)
        except ValueError as error:
            faults.append(Fault(where, f"not JSON: {error}"))
            continue
        number: Any = row.pop(LINE_NUMBER, place) if is_mapping(row) else None
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            faults.append(Fault(where, "no JSON object with a line_number of 0 or more"))
        elif number in found:
            faults.append(Fault(where, f"line_number {number} stands twice"))
        else:
            found[number] = row
    return found


def _lines(file: Path, faults: list[Fault]) -> list[str]:
    try:
        return (
            file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
            if file.stat().st_size
            else []
        )
    except UnicodeDecodeError as error:
        faults.append(Fault(file.name, f"not UTF-8 at byte {error.start}"))
        return []


def _document(file: Path, faults: list[Fault]) -> Row:
    if not file.is_file():
        return {}
    try:
        found: Any = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # also text that is not UTF-8
        faults.append(Fault(file.name, f"not JSON: {error}"))
        return {}
    if not is_mapping(found):
        faults.append(Fault(file.name, "no JSON object"))
        return {}
    return dict(found)


def _errors(document: Mapping[str, Any]) -> dict[int, Row]:
    """The errors of lines in `error.json`, as our own records have them."""
    found: dict[int, Row] = {}
    for item in _each(document.get("additionalInfo")):
        info: Any = item.get("info")
        for line in _each(info.get("errors") if is_mapping(info) else None):
            error: Any = line.get("error")
            if isinstance(line.get(LINE_NUMBER), int) and is_mapping(error):
                found[line[LINE_NUMBER]] = _error(error)
    return found


def _error(error: Mapping[str, Any]) -> Row:
    codes: list[str] = []
    level: Any = error
    while is_mapping(level) and level.get("code"):
        codes.append(str(level["code"]))
        level = level.get("innerError")
    kept: Row = {"code": (codes or ["UserError"])[-1], "codes": codes or ["UserError"]}
    kept["message"] = str(error.get("message") or "")
    return kept | ({"additionalInfo": info} if (info := error.get("additionalInfo")) else {})


def _mapping(value: Any) -> Row:
    return value if is_mapping(value) else {}


def _each(items: Any) -> Iterator[Mapping[str, Any]]:
    for item in items if is_list(items) else []:
        if is_mapping(item):
            yield item


def _of_database(path: Path) -> Row:
    """The run's row in the `pf.sqlite` above it; empty where there is none that can be read."""
    file = path.resolve().parent.parent / DATABASE
    if not file.is_file():
        return {}
    with suppress(sqlite3.Error, ValueError):
        address = f"{file.as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=2)) as database:
            database.row_factory = sqlite3.Row
            name = path.resolve().name
            row = database.execute("select * from run_info where name = ?", (name,)).fetchone()
        if row is not None:
            facts = {key: row[key] for key in ("name", *_KEYS) if key in row.keys()}  # noqa: SIM118
            for key in ("tags", "properties"):
                facts[key] = _mapping(json.loads(row[key] or "{}"))
            return facts
    return {}
