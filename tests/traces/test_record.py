"""What would end the keeping of traces, or hold a command up, and does not."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from phoundry.errors import UsageError
from phoundry.settings import Settings
from phoundry.traces.export import Collector
from phoundry.traces.otlp import request
from phoundry.traces.record import PATIENCE, REST, Recorder
from phoundry.traces.store import TraceStore
from phoundry.traces.trace import new_trace
from tests.traces.conftest import MODEL, failed_spans, span

HALF = "bad \ud800 text"  # half of a pair: JSON has it, no database and no collector does


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def connections_to(server: socket.socket) -> int:
    """How many have been made."""
    found = 0
    server.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            found += 1
    return found


def test_what_a_database_cannot_hold_ends_no_recording(store: TraceStore) -> None:
    recorder = Recorder(store, Settings({}))
    for _ in range(2):
        recorder.put([span(1, None, "flow", HALF, error=["ValueError", HALF])], f"/flows/{HALF}")
        recorder.put([span(1, None, "model", "m", input_tokens=10**30)], "/flows/faq")
        recorder.put(failed_spans(), "/flows/faq", error=HALF)
        recorder.flush()
    assert recorder.problem is None
    assert len(store.list()) == 6
    assert store.list(flow="/flows/bad ? text")[0].error == "ValueError: bad ? text"


def test_what_a_collector_cannot_hold_is_not_sent_to_it() -> None:
    model = {**MODEL, "url": "http://127.0.0.1:port/"}
    spans = [
        span(2, 1, "model", HALF, **model),
        span(1, None, "flow", HALF, error=["ValueError", HALF], output=[HALF]),
    ]
    sent = request([new_trace(spans, "/flows/faq")])
    for item in sent["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        str(item).encode()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1431x", "http://[::1", "http://127.0.0.1:99999"])
def test_an_address_that_is_none_is_told(url: str, store: TraceStore) -> None:
    with pytest.raises(UsageError, match="no address of a collector"):
        Collector(url)
    recorder = Recorder(store, Settings({"OTEL_EXPORTER_OTLP_ENDPOINT": url}))
    recorder.put(failed_spans(), "/flows/faq")
    recorder.flush()
    assert "no address of a collector" in (recorder.problem or "")
    assert len(store.list()) == 1


def test_a_collector_that_is_silent_is_waited_for_once(
    store: TraceStore, silent: socket.socket
) -> None:
    url = f"http://127.0.0.1:{silent.getsockname()[1]}"
    recorder = Recorder(store, Settings({"OTEL_EXPORTER_OTLP_ENDPOINT": url}))
    begun = time.monotonic()
    for _ in range(5):
        recorder.put(failed_spans(), "/flows/faq")
        recorder.flush()
    assert connections_to(silent) == 1
    # Nor for long; the disk and the imports take what they take.
    assert PATIENCE <= time.monotonic() - begun < REST / 2
    assert "did not take the traces" in (recorder.problem or "")
    assert len(store.list()) == 5
