"""A run from its first step to its last: prepare, lines, aggregation, files, record."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from phoundry.errors import Conflict, PhoundryError, Unavailable
from phoundry.flows.batch.engine import Engine, Pool, Spans, Tell
from phoundry.flows.batch.finish import finish
from phoundry.flows.batch.folder import Record, RunFolder
from phoundry.flows.batch.journal import Index, load_index
from phoundry.flows.batch.mapping import ColumnMapping
from phoundry.flows.batch.prepare import prepare
from phoundry.flows.batch.snapshot import flow_sha256, keep_snapshot
from phoundry.flows.model import Flow

WAITING_LINES = 4  # lines of one process at a time where nodes wait for a model
MOST_PROCESSES = 8

OpenPool = Callable[[], AbstractContextManager[Pool]]


@dataclass(slots=True)
class Work:
    """A go of the run `record` in `folder`, whose lock the caller holds.

    `open_pool` gives what runs the lines.
    """

    folder: RunFolder
    record: Record
    flow: Flow
    open_pool: OpenPool
    on_progress: Tell | None = None
    on_line: Spans | None = None

    def begin(self, sources: Mapping[str, Path]) -> Record:
        """A new run over `sources` (`data`, `run.inputs`, `run.outputs`).

        A fault that is found before the first line has run leaves no run behind.

        Raises:
            PhoundryError: the data, the mapping or the flow is at fault.
        """
        with self.undone_unless_begun(), self.open_pool() as pool:
            self._write("Preparing")
            pool.start()  # it is ready when the inputs are
            mapping = ColumnMapping(self.record.column_mapping, self.flow.inputs)
            prepared = prepare(self.folder, sources, mapping)
            self.record.notices = list(prepared.notices)
            self._keep_flow()
            engine = self._engine(prepared.index)
            if prepared.missing:
                engine.fail_unmapped(prepared.missing)
            return self._go(engine, pool, retry_failed=False)

    @contextmanager
    def undone_unless_begun(self) -> Generator[None]:
        """Remove the run when the block fails, or is interrupted, before a line has ended."""
        try:
            yield
        except BaseException as error:
            if not (self.record.lines.completed or self.record.lines.failed):
                shutil.rmtree(self.folder.path, ignore_errors=True)
            if isinstance(error, OSError):
                raise Unavailable(
                    f"The run could not begin: {error}.", remedy="Is there room on the disk?"
                ) from error
            raise

    def go_on(self, index: Index, *, retry_failed: bool, first: bool = False) -> Record:
        """Run what is left of a run that was begun; with `retry_failed` also what failed.
        `first`: under its own name it begins only now.

        Raises:
            FlowError: the flow does not open.
        """
        if first or self.record.flow_sha256 != flow_sha256(self.flow):
            self._keep_flow()
        self.record.error = self.record.aggregation_error = None
        self.record.metrics, self.record.aggregation_nodes = {}, {}
        with self.open_pool() as pool:
            return self._go(self._engine(index), pool, retry_failed=retry_failed)

    def _go(self, engine: Engine, pool: Pool, *, retry_failed: bool) -> Record:
        with self._timed(engine.index):
            engine.lines(pool, retry_failed=retry_failed)
            engine.aggregate(pool)
        return self.record

    @contextmanager
    def _timed(self, index: Index) -> Generator[None]:
        """The record and the files as they are after the block, however it ends."""
        begun = time.monotonic()
        self.record.started = self.record.started or _now()
        self._write("Running")
        self.folder.drop_results()
        status, written = "Canceled", True
        try:
            yield
            status = "Completed"
        except PhoundryError as error:
            status, self.record.error = "Failed", error.to_dict()
            raise
        except (
            OSError
        ) as error:  # a full disk: the index may know of lines that are not in the file
            written = False
            raise self._interrupted(error) from error
        finally:
            self.record.seconds += time.monotonic() - begun
            self.record.ended = _now()
            if written:
                self._finish(index, status)

    def _finish(self, index: Index, status: str) -> None:
        try:
            finish(self.folder, self.record, index)
            self._write(status)
        except OSError as error:
            raise self._interrupted(error) from error

    def _interrupted(self, error: OSError) -> Unavailable:
        name = self.record.name
        return Unavailable(
            f"The run '{name}' was interrupted: {error}.",
            remedy=f"Is there room on the disk? Then go on: phoundry run resume {name}",
        )

    def _keep_flow(self) -> None:
        keep_snapshot(self.flow, self.folder.snapshot)
        self.record.flow_sha256 = flow_sha256(self.flow)

    def _engine(self, index: Index) -> Engine:
        nodes = any(node.aggregation for node in self.flow.nodes)
        return Engine(self.folder, self.record, index, nodes, self.on_progress, self.on_line)

    def _write(self, status: str) -> None:
        self.record.status = status  # pyright: ignore[reportAttributeAccessIssue] - one of `Status`
        self.folder.write(self.record)


def index_of(folder: RunFolder) -> Index:
    """How far the run in `folder` is.

    Raises:
        Conflict: it was killed before its inputs were read.
    """
    name = folder.path.name
    if not folder.inputs.exists():
        raise Conflict(
            f"The run '{name}' ended before it knew its lines.",
            remedy=f"Remove it with `phoundry run delete {name}`, and create it again.",
        )
    return load_index(folder.inputs, folder.journal)


def spread(flow: Flow, workers: int | None) -> tuple[int, int]:
    """Processes, and lines at a time in each, for `workers` lines at once.

    Left open: a line a core; where nodes wait for models, some more in each process.
    """
    cores = min(MOST_PROCESSES, os.cpu_count() or 1)
    if workers is None:
        return cores, WAITING_LINES if _waits(flow) else 1
    processes = min(workers, cores)
    return processes, -(-workers // processes)


def _waits(flow: Flow) -> bool:
    return flow.kind == "prompty" or any(node.type in ("llm", "custom_llm") for node in flow.nodes)


def _now() -> str:
    return datetime.now(UTC).isoformat()
