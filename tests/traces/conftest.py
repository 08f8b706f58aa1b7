"""Spans as a run of a flow leaves them, and a collector that keeps what it is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from phoundry.traces.store import TraceStore

SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND


def span(number: int, parent: int | None, kind: str, name: str, **more: Any) -> dict[str, Any]:
    """A span that begins `number` ms after START and takes 5 ms."""
    start = START + number * 1_000_000
    found = {"id": number, "parent": parent, "kind": kind, "name": name, "start": start}
    error = more.pop("error", None)
    return found | {"end": start + 5_000_000, "attributes": more, "error": error}


MODEL = {
    "model": "smollm2",
    "url": "http://127.0.0.1:7411/v1",
    "operation": "chat/completions",
    "parameters": {"temperature": 0.5, "stop": ["x"]},
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    "answer": {"role": "assistant", "content": "Hello."},
    "finish_reason": "stop",
    "input_tokens": 12,
    "output_tokens": 3,
    "total_tokens": 15,
}


def chat_spans() -> list[dict[str, Any]]:
    """A flow of two nodes; the second one asks a model. In the order in which they end."""
    return [
        span(2, 1, "node", "search", inputs={"q": "Hi"}, output=["a", "b"], status="Completed"),
        span(4, 3, "model", "smollm2", **MODEL),
        span(3, 1, "node", "ask", inputs={"q": "Hi"}, output="Hello.", status="Completed"),
        span(1, None, "flow", "faq", inputs={"q": "Hi"}, output={"answer": "Hello."}),
    ]


def failed_spans() -> list[dict[str, Any]]:
    error = ["ToolExecutionError", "Execution failure in 'n': (ValueError) bad"]
    return [
        span(2, 1, "node", "n", status="Failed", error=error),
        span(1, None, "flow", "faq"),
    ]


@pytest.fixture
def store(tmp_path: Path) -> TraceStore:
    return TraceStore(tmp_path / "home" / "traces.db")


class FakeCollector:
    """`requests` are the bodies it got; `statuses` what it answers next, 200 after that."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.statuses: list[int] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests.append(json.loads(body))
                collector.headers.append({k.lower(): v for k, v in self.headers.items()})
                collector.paths.append(self.path)
                self.send_response(collector.statuses.pop(0) if collector.statuses else 200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def spans(self) -> list[dict[str, Any]]:
        return [item for body in self.requests for item in self._of(body)]

    @property
    def counts(self) -> list[int]:
        return [len(self._of(body)) for body in self.requests]

    def _of(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        return body["resourceSpans"][0]["scopeSpans"][0]["spans"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    fake = FakeCollector()
    yield fake
    fake.close()
