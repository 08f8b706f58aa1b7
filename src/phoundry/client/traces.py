"""What runs of flows did, as it was kept on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.client.transport import Transport
from phoundry.errors import UsageError
from phoundry.settings import Home, Settings
from phoundry.specs.trace import TraceDetail, TraceSpan, TraceSummary

if TYPE_CHECKING:
    from phoundry.flows import Flow
    from phoundry.traces.store import TraceStore
    from phoundry.traces.trace import Trace


class Traces:
    """`client.traces`. Nothing here needs a control plane: traces are in this home.

    Raises (all methods):
        Unavailable: the file of the traces can't be used.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        flow: Path | str | None = None,
        run: str | None = None,
        failed: bool | None = None,
        endpoint: str | None = None,
        deployment: str | None = None,
        limit: int = 20,
    ) -> list[TraceSummary]:
        """The newest first: of the flow in a folder, of a batch, failed ones or the others, of
        requests to an endpoint or to a deployment. The control plane takes those in within a
        second or two."""
        folder = str(Path(flow).expanduser().resolve()) if flow is not None else None
        found = self._store.list(
            flow=folder,
            run=run,
            failed=failed,
            endpoint=endpoint,
            deployment=deployment,
            limit=limit,
        )
        return [TraceSummary(**_summary(trace)) for trace in found]

    def show(self, id: str, *, full: bool = False) -> TraceDetail:
        """The trace whose id begins so, or `last`. `full`: every value whole in its text.

        Raises:
            NotFound: there is none. Conflict: several begin so.
        """
        from phoundry.traces.view import joined, tree

        traces = self._store.parts(id)
        spans = [
            TraceSpan.model_validate(
                {**span, "error": ": ".join(span["error"]) if span["error"] else None}
            )
            for span in joined(traces)
        ]
        return TraceDetail(**_summary(traces[0]), spans=spans, text=tree(*traces, full=full))

    def export(self, ids: Sequence[str] = (), *, otlp: str | None = None) -> int:
        """Send the traces of `ids`, else all, to the collector at the address `otlp`, else to the
        one that the environment names; how many spans that were.

        Raises:
            UsageError: no collector is named. NotFound: a trace is not there.
            Unavailable: the collector is not reached or refuses.
        """
        from phoundry.traces.export import Collector

        settings = Settings()
        target = otlp or settings.collector
        if target is None:
            raise UsageError(
                "No collector is named.",
                remedy="Add --otlp http://127.0.0.1:4318, or set OTEL_EXPORTER_OTLP_ENDPOINT.",
            )
        return Collector(target, settings.collector_headers).send(self._store.walk(ids))

    def document(self, ids: Sequence[str] = ()) -> dict[str, Any]:
        """The traces of `ids`, else all, as the JSON that OTLP has for them.

        Raises:
            NotFound: a trace is not there.
        """
        from phoundry.traces.otlp import request

        return request(self._store.walk(ids))

    def pieces(self, ids: Sequence[str] = ()) -> Iterator[str]:
        """The text of `document(ids)`, piece by piece: all traces may be more than fits in memory.

        Raises (before the first piece):
            NotFound: a trace is not there. Conflict: several begin so.
        """
        from phoundry.traces.otlp import pieces

        whole = [self._store.get(id).trace_id for id in ids]
        return pieces(self._store.walk(whole))

    def delete(self, ids: Sequence[str] = (), *, older_than_days: float | None = None) -> int:
        """Forget the traces of `ids`, or those that began so many days ago (0: all of them); how
        many there were.

        Raises:
            NotFound, Conflict: an id is of none, or of several.
        """
        whole = [self._store.get(id).trace_id for id in ids]
        count = self._store.delete(whole) if whole else 0
        if older_than_days is not None:
            count += self._store.delete_older(older_than_days)
        return count

    @property
    def _store(self) -> TraceStore:
        from phoundry.traces.store import TraceStore

        return TraceStore(self._transport.home.traces)


def keeper(home: Home, flow: Flow) -> Callable[[list[dict[str, Any]]], Any] | None:
    """What a session of `flow` hands the spans of its runs to; None where traces are off."""
    from phoundry.traces.record import recorder

    found = recorder(home)
    folder = str(flow.root)
    return None if found is None else lambda spans: found.put(spans, folder)


def keeper_of_requests(home: Home, flow: Flow) -> Callable[[dict[str, Any]], Any] | None:
    """What a server of `flow` hands what it tells of requests to; None where traces are off."""
    from phoundry.traces.record import recorder
    from phoundry.traces.served import served

    found = recorder(home)
    if found is None:
        return None
    folder = str(flow.root)

    def keep(told: dict[str, Any]) -> None:
        trace = served(told, folder)
        if trace is not None:
            found.keep(trace)

    return keep


def _summary(trace: Trace) -> dict[str, Any]:
    return {
        "id": trace.trace_id,
        "name": trace.name,
        "flow": trace.flow,
        "started_at": datetime.fromtimestamp(trace.started / 1e9, UTC),
        "seconds": trace.seconds,
        "status": "Failed" if trace.error else "Completed",
        "error": trace.error,
        "input_tokens": trace.input_tokens,
        "output_tokens": trace.output_tokens,
        "run": trace.run,
        "line": trace.line,
        "endpoint": trace.origin.endpoint,
        "deployment": trace.origin.deployment,
        "request_id": trace.origin.request,
        "parent": trace.origin.parent,
    }
