"""Batch runs of flows: a flow over many lines, kept in a folder of this home."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.client.flow_data import data_of
from phoundry.client.flows import Flows, Unlisted
from phoundry.client.transport import Transport
from phoundry.specs.flow_run import FlowRun, FlowRunSpec

if TYPE_CHECKING:
    from phoundry.client.connections import Connections
    from phoundry.client.data import Data
    from phoundry.flows import Flow
    from phoundry.flows.batch.engine import Progress
    from phoundry.flows.batch.folder import Record, RunFolder
    from phoundry.flows.batch.store import RunStore
    from phoundry.flows.batch.work import Work
    from phoundry.flows.prepare import Connections as Chosen


class FlowRuns:
    """`client.runs`. Nothing here needs a control plane."""

    def __init__(
        self, transport: Transport, flows: Flows, connections: Connections, data: Data
    ) -> None:
        self._transport = transport
        self._flows = flows
        self._connections = connections
        self._data = data

    def create(
        self, spec: FlowRunSpec, *, on_progress: Callable[[Progress], None] | None = None
    ) -> FlowRun:
        """Run a flow over many lines, in this process's children; returns when it has ended.

        Lines that fail are counted in the run and raise nothing. Ctrl-C leaves a run that `resume`
        takes up. What is wrong before the first line has run leaves no run behind.

        Args:
            on_progress: told twice a second, with counts of lines.

        Raises:
            NotFound, UsageError, FlowError: no such flow, data or run; a mapping that finds
                nothing; a tool that does not load.
            Conflict: there is a run of this name.
        """
        from phoundry.flows.batch.folder import Record
        from phoundry.flows.batch.store import new_name
        from phoundry.flows.batch.taken import sources_of, take_over
        from phoundry.flows.load import load_flow

        store = self._store
        flow = load_flow(spec.flow, variant=spec.variant)
        stem = flow.root.name if flow.file.suffix != ".prompty" else flow.file.stem
        name = spec.name or new_name(stem, spec.variant)
        earlier = store.read(spec.resume_from) if spec.resume_from else None
        record = Record(
            name=name,
            flow=str(flow.file),
            display_name=spec.display_name or name,
            created=datetime.now(UTC).isoformat(),
            resumed_from=spec.resume_from,
            **{field: getattr(spec, field) for field in _KEPT},
        )
        folder = store.make(name)
        with folder.held():
            folder.write(record)  # what is killed from here on can be removed by its name
            work = self._work(folder, record, flow, on_progress)
            if earlier is not None:
                return self._view(take_over(work, *earlier))
            with work.undone_unless_begun():
                record.data, path = data_of(self._data, spec.data, spec.split, folder.path)
                sources = sources_of(store, path, spec.run)
            return self._view(work.begin(sources))

    def resume(
        self,
        name: str,
        *,
        retry_failed: bool = False,
        workers: int | None = None,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> FlowRun:
        """Go on with a run: lines that completed stay, those that have not ended run.

        Args:
            retry_failed: lines that failed run again, too.
            workers, timeout: in place of what the run began with.
            on_progress: as of `create`.

        Raises:
            NotFound: no such run, or its flow is gone.
            Conflict: another process works on it; Prompt flow made it.
            FlowError: the flow does not load.
        """
        from phoundry.flows.batch.taken import refuse_taken_in
        from phoundry.flows.batch.work import index_of
        from phoundry.flows.load import load_flow

        folder = self._store.folder(name)
        with folder.held():
            record = self._store.read(name)[1]
            refuse_taken_in(record)
            record.workers = workers or record.workers
            record.timeout = timeout or record.timeout
            flow = load_flow(record.flow, variant=record.variant)
            work = self._work(folder, record, flow, on_progress)
            return self._view(work.go_on(index_of(folder), retry_failed=retry_failed))

    def take_in(self, source: Path | str, *, name: str | None = None) -> FlowRun:
        """Keep a run that Prompt flow made, from its folder (`~/.promptflow/.runs/NAME`, or what
        `pfazure run download` wrote), among the runs of this home. Nothing runs.

        Args:
            name: another name than it had.

        Raises:
            NotFound, InvalidInput: no run there; every faulty line of its files.
            Conflict: there is a run of this name.
        """
        from phoundry.flows.batch.foreign import read_run
        from phoundry.flows.batch.taken_in import take_in

        return self._view(take_in(self._store, read_run(Path(source).expanduser()), name))

    def list(
        self, *, limit: int | None = None, archived: bool = False, everything: bool = False
    ) -> Sequence[FlowRun]:
        """Runs, the newest first; `archived` only those that are, `everything` both."""
        wanted = (r for r in self._store if everything or r.archived == archived)
        return [self._view(record) for record in islice(wanted, limit)]

    def show(self, name: str) -> FlowRun:
        """The run, as it is now."""
        return self._view(self._store.read(name)[1])

    def details(
        self, name: str, *, limit: int | None = 100, failed: bool = False
    ) -> Sequence[dict[str, Any]]:
        """`{"line_number", "status", "inputs", "outputs", "seconds", "error", "log"}` of lines;
        `failed` only those that did."""
        from phoundry.flows.batch.reading import details

        folder = self._store.folder(name)
        return [*islice(details(folder, failed=failed), limit)]

    def metrics(self, name: str) -> Mapping[str, Any]:
        """What the run's aggregation logged."""
        return self._store.read(name)[1].metrics

    def visualize(self, names: Sequence[str], path: Path | str) -> Path:
        """Write one HTML file that shows the runs, and needs nothing beside it."""
        from phoundry.flows.batch.report import write_report

        target = Path(path).expanduser()
        write_report([self._store.read(name) for name in names], target)
        return target

    def update(
        self,
        name: str,
        *,
        display_name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> FlowRun:
        """Change what is said of the run."""
        given = {"display_name": display_name, "description": description}
        values: dict[str, Any] = {key: text for key, text in given.items() if text is not None}
        if tags is not None:
            values["tags"] = dict(tags)
        return self._change(name, values)

    def archive(self, name: str) -> FlowRun:
        """Leave the run out of lists; its files stay."""
        return self._change(name, {"archived": True})

    def restore(self, name: str) -> FlowRun:
        """Take the run back into lists."""
        return self._change(name, {"archived": False})

    def delete(self, name: str) -> None:
        """Remove the run and its files. Raises Conflict while a process works on it."""
        self._store.delete(name)

    @property
    def _store(self) -> RunStore:
        from phoundry.flows.batch.store import RunStore

        return RunStore(self._transport.home.runs)

    def _work(
        self,
        folder: RunFolder,
        record: Record,
        flow: Flow,
        on_progress: Callable[[Progress], None] | None,
    ) -> Work:
        from phoundry.client.flow_traces import LineTraces
        from phoundry.flows.batch.work import Work, spread
        from phoundry.flows.session.pool import SessionPool
        from phoundry.traces.record import recorder

        traces = recorder(self._transport.home)
        variables = {**flow.environment_variables, **record.environment_variables}
        flow = replace(flow, environment_variables=variables)

        def pool() -> SessionPool:
            processes, lines = spread(flow, record.workers)
            connections = self._connections_of(flow, record.connections)
            return SessionPool(
                flow,
                connections,
                processes,
                record.timeout,
                init=record.init or None,
                variant=record.variant,
                environment=record.environment_variables,
                workers=lines,
                traced=traces is not None,
                python=self._flows.interpreter(flow),
            )

        keep = LineTraces(traces, str(flow.root), record.name).keep if traces else None
        return Work(folder, record, flow, pool, on_progress, keep)

    def _connections_of(self, flow: Flow, overrides: Mapping[str, str]) -> Chosen:
        """What the flow's nodes take; without a look into the store where they take nothing."""
        from phoundry.flows.connections import resolved, wanted_connections

        if not wanted_connections(flow):
            return resolved(flow, Unlisted(self._connections), {}, overrides)
        remembered = self._flows.settings(flow.root).connections
        return resolved(flow, self._connections, remembered, overrides)

    def _change(self, name: str, values: Mapping[str, Any]) -> FlowRun:
        folder = self._store.folder(name)
        with folder.held():
            record = replace(self._store.read(name)[1], **values)
            folder.write(record)
        return self._view(record)

    def _view(self, record: Record) -> FlowRun:
        fields = asdict(record)
        fields["environment_variables"] = sorted(record.environment_variables)
        fields["output"] = str(self._transport.home.runs / record.name)
        return FlowRun.model_validate(fields)


_KEPT = (
    "description",
    "tags",
    "variant",
    "connections",
    "environment_variables",
    "init",
    "run",
    "column_mapping",
    "workers",
    "timeout",
)
