"""What a run takes from another one: its inputs and outputs, or its completed lines."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from phoundry.errors import Conflict
from phoundry.files import PRIVATE, atomic_file
from phoundry.flows.batch.folder import Record, RunFolder
from phoundry.flows.batch.journal import ended_lines
from phoundry.flows.batch.store import RunStore
from phoundry.flows.batch.text import line_of
from phoundry.flows.batch.work import Work, index_of
from phoundry.flows.errors import FlowUserError

DATA = "data.jsonl"  # of a run over a data asset: its rows


def sources_of(store: RunStore, data: Path | None, run: str | None) -> Mapping[str, Path]:
    """The files behind `data`, `run.inputs` and `run.outputs`.

    `run.inputs` are the rows that the run read, before its mapping; where they are gone, and for a
    run over another run, what its lines were given.

    Raises:
        NotFound: there is no such run.
        FlowUserError: it has not come to its end.
    """
    sources = {"data": data} if data is not None else {}
    if run is None:
        return sources
    folder, record = store.read(run)
    if record.status != "Completed":
        raise FlowUserError(
            f"Referenced run {run} is not completed, got status {record.status}",
            remedy=f"Let it end first: phoundry run resume {run}",
        )
    rows = [folder.path / DATA, *([Path(record.data)] if record.data else [])]
    inputs = next((path for path in rows if path.exists()), folder.inputs)
    return {**sources, "run.outputs": folder.outputs, "run.inputs": inputs}


def take_over(work: Work, folder: RunFolder, record: Record) -> Record:
    """Begin the run of `work` with the inputs and the completed lines of the run `record`; lines
    that failed or have not run are run.

    Raises:
        Conflict: another process works on that run, or it has not come as far as its lines.
    """
    new = work.record
    new.data, new.run = record.data, record.run
    new.column_mapping = dict(record.column_mapping)
    with work.undone_unless_begun():
        refuse_taken_in(record)
        if folder.busy:
            raise Conflict(f"The run '{record.name}' still runs.", remedy="Wait until it ends.")
        index = index_of(folder)
        shutil.copyfile(folder.inputs, work.folder.inputs)
        if (folder.path / DATA).exists():
            shutil.copyfile(folder.path / DATA, work.folder.path / DATA)
        with atomic_file(work.folder.journal, mode=PRIVATE) as journal:
            for line in ended_lines(index, folder.journal):
                if line["status"] == "Completed":
                    journal.write(line_of(line))
    return work.go_on(index_of(work.folder), retry_failed=True, first=True)


def refuse_taken_in(record: Record) -> None:
    """Raises Conflict for a run that Prompt flow made: what its aggregation takes from each line,
    and how nodes ended, is not in its files, so that its lines can't be gone on with."""
    if record.taken_from is not None:
        raise Conflict(
            f"The run '{record.name}' was made by Prompt flow; it is kept as it was.",
            remedy=f"Make a new one: phoundry run create --flow {record.flow} --data DATA",
        )
