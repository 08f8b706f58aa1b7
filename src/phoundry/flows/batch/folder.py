"""The folder of one run: what stands where, who may write, and its record.

    run.json       the record: state, times, flow, mapping, sources, counts (mode 0600)
    lock           held while a process works on the run
    inputs.jsonl   what each line is given, with its `line_number`; written before the first runs
    lines.jsonl    what each line gave, in the order in which they ended
    outputs.jsonl  outputs of the lines that completed, by line number
    flow_outputs/output.jsonl   the same file
    metrics.json   what the aggregation logged
    error.json     the lines and aggregation nodes that failed
    logs.txt       what the flow's code printed, by line
    snapshot/      the flow as it was

`inputs.jsonl`, `outputs.jsonl`, `flow_outputs`, `metrics.json`, `error.json`, `logs.txt` and
`snapshot` are Prompt flow's names. There is no database: the folders are the store.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

from phoundry.errors import Conflict
from phoundry.files import PRIVATE, lock_held, read_json, write_json

Status = Literal["Preparing", "Running", "Completed", "Failed", "Canceled"]
RECORD = "run.json"
ATTEMPTS = 10  # to take the lock
FILES = frozenset(
    (
        "lock",
        "data.jsonl",
        "inputs.jsonl",
        "lines.jsonl",
        "outputs.jsonl",
        "flow_outputs",
        "metrics.json",
        "error.json",
        "logs.txt",
        "aggregation.txt",
        "snapshot",
    )
)


@dataclass(slots=True)
class Counts:
    """`failed` lines include those whose columns are missing."""

    total: int = 0
    completed: int = 0
    failed: int = 0

    @property
    def left(self) -> int:
        return self.total - self.completed - self.failed


@dataclass(slots=True)
class Record:
    """What is known of a run. Times are ISO 8601 in UTC; `seconds` is the work of all its goes.

    `environment_variables` and `init` may hold secrets: they are kept for a resume, in a file that
    its owner alone can read, and never shown.
    """

    name: str
    flow: str
    status: Status = "Preparing"
    display_name: str = ""
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict[str, str])
    archived: bool = False
    created: str = ""
    started: str | None = None
    ended: str | None = None
    seconds: float = 0.0
    flow_sha256: str = ""
    variant: str | None = None
    connections: dict[str, str] = field(default_factory=dict[str, str])
    environment_variables: dict[str, Any] = field(default_factory=dict[str, Any])
    init: dict[str, Any] = field(default_factory=dict[str, Any])
    data: str | None = None
    run: str | None = None
    resumed_from: str | None = None
    taken_from: str | None = None  # the folder of a run that Prompt flow made
    column_mapping: dict[str, Any] = field(default_factory=dict[str, Any])
    workers: int | None = None
    timeout: float = 600.0
    lines: Counts = field(default_factory=Counts)
    metrics: dict[str, Any] = field(default_factory=dict[str, Any])
    notices: list[str] = field(default_factory=list[str])
    error: dict[str, Any] | None = None
    aggregation_error: dict[str, Any] | None = None
    aggregation_nodes: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Record:
        known = {each.name for each in fields(cls)}
        values = {name: value for name, value in found.items() if name in known}
        values["lines"] = Counts(**values.get("lines", {}))
        return cls(**values)


class RunFolder:
    """The paths of one run; nothing is made by asking for one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inputs = path / "inputs.jsonl"
        self.journal = path / "lines.jsonl"
        self.outputs = path / "outputs.jsonl"
        self.flow_outputs = path / "flow_outputs" / "output.jsonl"
        self.metrics = path / "metrics.json"
        self.errors = path / "error.json"
        self.line_errors = path / ".errors.jsonl"
        self.log = path / "logs.txt"
        self.aggregation_log = path / "aggregation.txt"
        self.snapshot = path / "snapshot"

    def write(self, record: Record) -> None:
        write_json(self.path / RECORD, asdict(record), mode=PRIVATE)

    def read(self) -> Record | None:
        """The record as it is true now: a run that says it works and has no worker was killed. None
        where there is none that can be read."""
        try:
            found: Any = read_json(self.path / RECORD)
            if not isinstance(found, dict):
                return None
            record = Record.from_dict(found)  # pyright: ignore[reportUnknownArgumentType]
        except (ValueError, TypeError, AttributeError, OSError):  # edited, or of another version
            return None
        if record.status in ("Preparing", "Running") and not self.busy:
            record.status = "Canceled"
        return record

    @property
    def busy(self) -> bool:
        """Whether a process works on the run."""
        return lock_held(self.path / "lock")

    @contextmanager
    def held(self) -> Generator[None]:
        """Hold the run's lock. The kernel frees it when the process ends, however it ends.

        Raises:
            Conflict: another process works on the run.
        """
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        try:
            # Whoever asks `busy` has it for a moment, so one refusal means nothing.
            for attempt in range(ATTEMPTS):
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if attempt == ATTEMPTS - 1:
                        raise Conflict(
                            f"Another process works on the run '{self.path.name}'.",
                            remedy=f"Look how far it is: phoundry run show {self.path.name}",
                        ) from None
                    time.sleep(0.02)
            yield
        finally:
            os.close(handle)

    def drop_results(self) -> None:
        """Remove what `finish` made, so that nothing old stands beside a run that goes on."""
        for path in (self.outputs, self.flow_outputs, self.metrics, self.errors):
            with suppress(FileNotFoundError):
                path.unlink()

    def journal_file(self) -> BinaryIO:
        """`lines.jsonl`, open for reading; empty where no line has ended."""
        return self.journal.open("rb") if self.journal.exists() else BytesIO()
