"""A run of Prompt flow's among those of this home: its history survives the move."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from phoundry.errors import PhoundryError
from phoundry.files import PRIVATE, atomic_file
from phoundry.flows.batch.finish import finish
from phoundry.flows.batch.folder import Counts, Record, RunFolder, Status
from phoundry.flows.batch.foreign import ForeignRun
from phoundry.flows.batch.journal import load_index
from phoundry.flows.batch.mapping import LINE_NUMBER
from phoundry.flows.batch.snapshot import files_in
from phoundry.flows.batch.store import RunStore
from phoundry.flows.batch.text import line_of
from phoundry.flows.document import find_file, is_mapping


def take_in(store: RunStore, run: ForeignRun, name: str | None = None) -> Record:
    """Write `run` as a run of this home, whole or not at all; its own folder stays as it is.

    Raises:
        Conflict, UsageError: the name is taken, or can't be a run's.
    """
    folder = store.make(name or str(run.facts.get("name") or run.path.resolve().name))
    try:
        with folder.held():
            _write_lines(folder, run)
            _write_snapshot(folder, run)
            record = _record(folder, run)
            finish(folder, record, load_index(folder.inputs, folder.journal))
            _write_log(folder, run)
            folder.write(record)  # last: without it there is no run
    except BaseException:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    return record


def _write_lines(folder: RunFolder, run: ForeignRun) -> None:
    with (
        atomic_file(folder.inputs, mode=PRIVATE) as inputs,
        atomic_file(folder.journal, mode=PRIVATE) as journal,
    ):
        for number, row in run.inputs.items():
            inputs.write(line_of({**row, LINE_NUMBER: number}))
            line: dict[str, Any] = {LINE_NUMBER: number, "nodes": {}}
            if number in run.errors:
                line |= {"status": "Failed", "output": None, "error": run.errors[number]}
            elif number in run.outputs:
                line |= {"status": "Completed", "output": run.outputs[number]}
            else:
                continue  # it had not ended
            journal.write(line_of(line))


def _write_snapshot(folder: RunFolder, run: ForeignRun) -> None:
    source = run.path / "snapshot"
    for file in files_in(source):
        target = folder.snapshot / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def _write_log(folder: RunFolder, run: ForeignRun) -> None:
    if (run.path / "logs.txt").is_file():
        with atomic_file(folder.log, mode=PRIVATE) as log:
            log.write((run.path / "logs.txt").read_bytes())


def _record(folder: RunFolder, run: ForeignRun) -> Record:
    facts = run.facts
    failed = len(run.errors)
    counts = Counts(len(run.inputs), len(run.outputs.keys() - run.errors.keys()), failed)
    written = datetime.fromtimestamp((run.path / "inputs.jsonl").stat().st_mtime, UTC).isoformat()
    begun, ended = _moment(facts.get("start_time")), _moment(facts.get("end_time"))
    mapping: Any = run.properties.get("column_mapping")
    notices = [f"Read in from {run.path.resolve()}; Prompt flow ran it."]
    if not facts:
        notices.append("Its display name, times and mapping are not known: no pf.sqlite has it.")
    return Record(
        name=folder.path.name,
        flow=_flow(folder, run),
        status=_status(facts.get("status"), counts),
        display_name=str(facts.get("display_name") or folder.path.name),
        description=str(facts.get("description") or ""),
        tags=run.tags,
        created=_moment(facts.get("created_on")) or written,
        started=begun,
        ended=ended,
        seconds=_seconds(begun, ended),
        variant=run.properties.get("variant"),
        data=facts.get("data"),
        run=run.properties.get("run"),
        column_mapping=dict(mapping) if is_mapping(mapping) else {},
        lines=counts,
        metrics=run.metrics,
        notices=notices,
        taken_from=str(run.path.resolve()),
    )


def _flow(folder: RunFolder, run: ForeignRun) -> str:
    """The flow's file: where it was, else in the snapshot."""
    path = run.properties.get("flow_path")
    for place in (*([Path(path)] if path else []), folder.snapshot):
        try:
            return str(find_file(place))
        except PhoundryError:
            continue
    return str(path or folder.snapshot)


def _status(written: Any, counts: Counts) -> Status:
    if written in ("Completed", "Failed", "Canceled"):
        return written
    return "Canceled" if counts.left or written else "Completed"


def _moment(text: Any) -> str | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def _seconds(begun: str | None, ended: str | None) -> float:
    if not begun or not ended:
        return 0.0
    return max(0.0, (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds())
