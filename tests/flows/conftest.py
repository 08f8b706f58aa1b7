"""Flows in a folder of the test's own, connections from a dictionary, and a model's endpoint."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import NotFound
from phoundry.flows import FlowSession
from phoundry.specs.connection import HIDDEN, Connection, ConnectionValues

MakeFlow = Callable[..., Path]


class Connections:
    """A `ConnectionResolver` over a list."""

    def __init__(self, *values: ConnectionValues) -> None:
        self.items = {item.name: item for item in values}

    def list(self) -> list[Connection]:
        now = datetime.now(UTC)
        return [
            Connection(
                name=item.name,
                type=item.type,
                configs=item.configs,
                secrets=dict.fromkeys(item.secrets, HIDDEN),
                created_at=now,
                updated_at=now,
            )
            for item in self.items.values()
        ]

    def values(self, name: str) -> ConnectionValues:
        if name not in self.items:
            raise NotFound.named("connection", name, self.items)
        return self.items[name]


def custom(name: str, configs: dict[str, str] | None = None, **secrets: str) -> ConnectionValues:
    return ConnectionValues(name=name, type="custom", configs=configs or {}, secrets=secrets)


class Endpoint:
    """An HTTP server whose answer is what `reply` makes of the request's body.

    `reply` gives `(status, body)`; a list as body is sent as server-sent events.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.reply: Callable[[dict[str, Any]], tuple[int, Any]] = lambda body: (200, {})
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests.append(
                    {"path": self.path, "headers": dict(self.headers), "body": body}
                )
                status, answer = endpoint.reply(body)
                self.send_response(status)
                if isinstance(answer, list):
                    self.send_header("Content-Type", "text/event-stream")
                    self.end_headers()
                    for event in answer:
                        text = event if isinstance(event, str) else json.dumps(event)
                        self.wfile.write(f"data: {text}\n\n".encode())
                        self.wfile.flush()
                    return
                data = json.dumps(answer).encode()
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    yield server
    server.close()


@pytest.fixture
def make_flow(tmp_path: Path) -> MakeFlow:
    """`make_flow({"flow.dag.yaml": …, "t.py": …})` gives the folder."""

    def make(files: Mapping[str, str], name: str = "flow") -> Path:
        folder = tmp_path / name
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content)
        return folder

    return make


@pytest.fixture
def open_session() -> Iterator[Callable[..., FlowSession]]:
    """`open_session(path, …)`; every session is closed after the test."""
    opened: list[FlowSession] = []

    def make(path: Path, *values: ConnectionValues, **options: Any) -> FlowSession:
        session = FlowSession(path, connections=Connections(*values), **options)
        opened.append(session)
        return session

    yield make
    for session in opened:
        session.close()
