"""The lines of a run, in whatever order they end, each kept as soon as it is told of.

What runs them is a `Pool` of processes; here is what happens around it: which lines are left, what
is written when, how far it is, the aggregation at the end, and how an interruption leaves it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from phoundry.flows.batch.folder import Record, RunFolder
from phoundry.flows.batch.journal import TODO, Index, Journal, ended_lines
from phoundry.flows.batch.mapping import LINE_NUMBER, not_found
from phoundry.flows.batch.text import value_of
from phoundry.flows.errors import FlowError, UnexpectedError

if TYPE_CHECKING:
    from phoundry.flows.session.pool import LineResult

GROUP_SECONDS = 0.5  # results that came within it are made to last together
RECORD_SECONDS = 2.0  # between two records of how far a run is, for who looks from outside

Inputs = dict[str, Any]


class Pool(Protocol):
    """What runs lines: `session.pool.SessionPool`, or a test's own."""

    def start(self) -> None: ...

    def run_lines(
        self, lines: Iterable[tuple[int, Mapping[str, Any]]]
    ) -> Iterator[tuple[int, LineResult]]: ...

    def aggregate(self, lines: Sequence[LineResult]) -> LineResult: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the run `run` is. `done` lines of this go took `seconds`."""

    run: str
    total: int
    completed: int
    failed: int
    done: int
    seconds: float

    @property
    def left(self) -> int:
        return self.total - self.completed - self.failed

    @property
    def seconds_left(self) -> float | None:
        """At the speed so far; None while there is none."""
        return self.left * self.seconds / self.done if self.done else None


Tell = Callable[[Progress], None]
Spans = Callable[["LineResult"], None]


@dataclass(slots=True)
class Engine:
    """One go of a run. `on_line` is handed each line's result, spans and all, as it comes."""

    folder: RunFolder
    record: Record
    index: Index
    nodes: bool = False  # whether the flow has aggregation nodes
    on_progress: Tell | None = None
    on_line: Spans | None = None

    def lines(self, pool: Pool, *, retry_failed: bool = False) -> None:
        """Run every line that has not ended, and with `retry_failed` those that failed.

        When this is left early, by Ctrl-C too, what has ended is kept.
        """
        begun = flushed = recorded = time.monotonic()
        if retry_failed:
            self.index.reopen_failed()
        todo = self._left()
        journal = Journal(self.folder.journal)
        done = 0
        try:
            for _, result in pool.run_lines(todo):
                done += 1
                self._keep(journal, result)
                moment = time.monotonic()
                if moment - flushed < GROUP_SECONDS:
                    continue
                journal.flush()
                flushed = moment
                self._tell(done, moment - begun)
                if moment - recorded >= RECORD_SECONDS:
                    recorded = moment
                    self.folder.write(self.record)
        finally:
            try:
                journal.flush()
            finally:
                journal.close()
                todo.close()
            self._tell(done, time.monotonic() - begun)
        if self.index.left:
            raise UnexpectedError(f"{self.index.left} lines gave no result.")

    def fail_unmapped(self, missing: Mapping[int, Sequence[str]]) -> None:
        """Keep the failure of lines whose rows lack a mapped column."""
        journal = Journal(self.folder.journal)
        try:
            for number, relations in missing.items():
                error = not_found(relations).to_dict()
                kept = {LINE_NUMBER: number, "status": "Failed", "output": None, "error": error}
                self.index.mark(number, False, journal.add(kept))
            journal.flush()
        finally:
            journal.close()

    def aggregate(self, pool: Pool) -> None:
        """Run the aggregation over the lines that completed, in their order; over none of them,
        too, as Prompt flow does."""
        if not self.nodes and not self.index.aggregated:
            return
        from phoundry.flows.session.pool import LineResult

        ended = ended_lines(self.index, self.folder.journal)
        completed = [
            LineResult(
                found[LINE_NUMBER],
                {},
                found.get("inputs") or {},
                found.get("aggregation_inputs") or {},
                found.get("kept") or [],
            )
            for found in ended
            if found["status"] == "Completed"
        ]
        try:
            over = pool.aggregate(completed)
        except FlowError as error:
            self.record.aggregation_error = error.to_dict()
            return
        if over.printed:
            self.folder.aggregation_log.write_text(over.printed, encoding="utf-8")
        self.record.metrics = dict(over.result["metrics"])
        self.record.aggregation_error = over.result["error"]
        self.record.aggregation_nodes = dict(over.result["nodes"])
        if self.on_line is not None:
            self.on_line(over)

    def _left(self) -> Generator[tuple[int, Inputs]]:
        states = bytes(self.index.states)  # as they are now: what ends meanwhile changes them
        with self.folder.inputs.open("rb") as file:
            for state, line in zip(states, file, strict=True):
                if state == TODO:
                    inputs: Inputs = value_of(line)
                    yield inputs.pop(LINE_NUMBER), inputs

    def _keep(self, journal: Journal, line: LineResult) -> None:
        result = line.result
        completed = result["error"] is None
        kept: dict[str, Any] = {
            LINE_NUMBER: line.number,
            "status": result["status"],
            "output": result["output"],
            "nodes": result["nodes"],
            "started": round(line.started, 3),
            "seconds": round(line.seconds, 6),
        }
        if not completed:
            kept["error"] = result["error"]
        if line.printed:
            kept["log"] = line.printed
        if completed and (line.inputs or line.aggregation_inputs or line.kept):
            # A flex flow says by its lines whether its class aggregates.
            self.index.aggregated = True
            kept["inputs"], kept["aggregation_inputs"] = line.inputs, line.aggregation_inputs
            if line.kept:
                kept["kept"] = line.kept
        self.index.mark(line.number, completed, journal.add(kept))
        if self.on_line is not None:
            self.on_line(line)

    def _tell(self, done: int, seconds: float) -> None:
        index, counts = self.index, self.record.lines
        counts.total = len(index)
        counts.completed, counts.failed = index.completed, index.failed
        if self.on_progress is not None:
            name, failed = self.record.name, counts.failed
            self.on_progress(Progress(name, counts.total, counts.completed, failed, done, seconds))
