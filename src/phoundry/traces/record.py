"""Keeping traces while runs go on: in a thread of its own, which never fails a run.

The thread takes everything that has come together at once and ends when nothing is left; it is
none that a process leaves behind, so a command that ends has kept what it traced.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from phoundry.flows.session.recorded import as_unicode
from phoundry.settings import Home, Settings
from phoundry.traces.store import TraceStore
from phoundry.traces.trace import SpanData, Trace, new_trace

REST = 60.0  # seconds in which a collector that did not answer is not asked again
PATIENCE = 2.0  # seconds for one answer of a collector: a command may wait for it to end
MOST = 5_000  # traces that may wait; whoever brings more waits for the disk


class Recorder:
    """Keeps traces in `store`, and sends them to the collector of the environment, if one is
    named there. `problem` is the last thing that went wrong, in words. Without a store it sends
    what somebody else has kept."""

    def __init__(self, store: TraceStore | None, settings: Settings | None = None) -> None:
        self.problem: str | None = None
        self._store, self._settings = store, settings or Settings()
        self._waiting: list[Trace] = []
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._resting = 0.0  # until when nothing is sent, on the monotonic clock

    def put(
        self,
        spans: Sequence[SpanData] | str,
        flow: str,
        *,
        run: str | None = None,
        line: int | None = None,
        error: str | None = None,
    ) -> str | None:
        """Keep the run of `flow` that `spans`, or their text, tell of; the trace's id. None where
        there are no spans, because nothing was recorded."""
        if not spans:
            return None
        flow, error = as_unicode(flow), as_unicode(error) if error else None
        trace = new_trace(spans, flow, run=run, line=line, error=error)
        self.keep(trace)
        return trace.id

    def keep(self, trace: Trace) -> None:
        """Keep `trace`."""
        if self._wait([trace]) > MOST:
            self.flush()

    def pass_on(self, traces: Sequence[Trace]) -> None:
        """Send `traces` to the collector, if one is named; never waits. Where more than `MOST`
        wait for it already, these are not sent."""
        if self._settings.collector is not None and len(self._waiting) <= MOST:
            self._wait(traces)

    def _wait(self, traces: Sequence[Trace]) -> int:
        """Hand `traces` to the thread; how many wait for it."""
        with self._lock:
            self._waiting.extend(traces)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="traces")
                self._thread.start()
            return len(self._waiting)

    def flush(self) -> None:
        """Wait until everything that was put is kept."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._lock:
                traces, self._waiting = self._waiting, []
                if not traces:
                    self._thread = None
                    return
            self._take(traces)

    def _take(self, traces: list[Trace]) -> None:
        for step in (*([self._store.add] if self._store else []), self._send):
            try:
                step(traces)
            except Exception as error:  # noqa: BLE001 - what is recorded fails no run, nor the next trace
                if self.problem is None:  # once is enough
                    import logging

                    logging.getLogger("phoundry.traces").warning("%s", error)
                self.problem = str(error) or type(error).__name__

    def _send(self, traces: list[Trace]) -> None:
        if self._settings.collector is None or time.monotonic() < self._resting:
            return
        from phoundry.traces.export import Collector

        try:
            collector = Collector.of(self._settings, seconds=PATIENCE)
            collector.send(trace.open() for trace in traces)
        except Exception:
            self._resting = time.monotonic() + REST
            raise


def recorder(home: Home) -> Recorder | None:
    """What keeps the traces of runs on `home`; None where PHOUNDRY_TRACING is off."""
    return Recorder(TraceStore(home.traces)) if Settings().tracing else None
