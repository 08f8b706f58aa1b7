"""The whole thing: a process behind a socket, asked over HTTP. One server for all of it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from phoundry.client import Client
from phoundry.client.flow_serving import Served, Serving, build_folder, serving
from phoundry.errors import InvalidInput, NotFound, UsageError
from phoundry.flows.errors import FlowError
from phoundry.settings import Home
from phoundry.specs.connection import ConnectionSpec
from phoundry.traces.store import TraceStore
from tests.serving.flow.inside import FLOWS

DEADLINE = 60.0  # seconds that no passing test needs


@dataclass
class Running:
    served: Served
    notes: list[str] = field(default_factory=list[str])
    log: list[str] = field(default_factory=list[str])

    def score(self, question: str, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.served.address}/score"
        return httpx.post(url, json={"question": question}, headers=named, timeout=DEADLINE)


def until(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHOUNDRY_HOME", str(tmp_path_factory.mktemp("home")))
        notes: list[str] = []
        log: list[str] = []
        asked = Serving(FLOWS / "echo", port=0, timeout=4.0, threads=2, environment={"A": "b"})
        with serving(asked, note=notes.append, log=log.append) as served:
            after = threading.Thread(target=served.supervisor.run, daemon=True)
            after.start()
            yield Running(served, notes, log)
            served.supervisor.ask_to_stop()
            after.join(DEADLINE)


def test_it_answers(running: Running) -> None:
    assert running.score("hi").json() == {"answer": "You said hi"}


def test_it_streams(running: Running) -> None:
    answer = running.score("stream", accept="text/event-stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    parts = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
    assert parts == [{"answer": "a"}, {"answer": "b"}, {"answer": "c"}]


def test_requests_leave_traces(running: Running) -> None:
    running.score("raise")
    store = TraceStore(Home.current().traces)
    until(lambda: any(trace.error for trace in store.list()))
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    running.score("hi", traceparent=parent, x_request_id="r1")
    until(lambda: any(trace.trace_id == parent[3:35] for trace in store.list()))
    joined = store.get(parent[3:35])
    assert (joined.origin.parent, joined.origin.request) == (parent[36:52], "r1")
    failed = next(trace for trace in store.list() if trace.error)
    assert "(ValueError) no" in str(failed.error)
    assert "say" in [span["name"] for span in store.get(failed.id).spans]


def test_a_process_that_dies_is_replaced_and_requests_wait(running: Running) -> None:
    (before,) = running.served.supervisor.pids
    with pytest.raises(httpx.HTTPError):
        running.score("die")
    assert running.score("again").json() == {"answer": "You said again"}
    assert running.served.supervisor.pids != [before]
    assert any("exit code 3" in note for note in running.notes)


def test_a_process_whose_threads_hang_is_replaced(running: Running) -> None:
    (before,) = running.served.supervisor.pids
    assert running.score("hang").status_code == 408
    until(lambda: running.served.supervisor.pids not in ([before], []))
    until(lambda: not Path(f"/proc/{before}").exists())
    assert running.score("hi").status_code == 200


def test_the_process_ends_with_who_started_it(home: Home) -> None:
    asked = Serving(FLOWS / "echo", port=0)
    with serving(asked) as served:
        (pid,) = served.supervisor.pids
        os.kill(pid, 0)
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_sigterm_to_the_command_ends_all_of_it(home: Home, tmp_path: Path) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "phoundry", "flow", "serve", str(FLOWS / "bare")]
    process = subprocess.Popen(
        [*command, "--port", "0"], stderr=subprocess.PIPE, env=dict(os.environ), text=True
    )
    assert process.stderr is not None
    address = process.stderr.readline().split()[-1]
    assert httpx.post(f"{address}/score", timeout=DEADLINE).json() == {"answer": "nothing asked"}
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 0
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{address}/health")
    process.stderr.close()


def test_another_address_than_loopback_gets_a_key_of_its_own(home: Home) -> None:
    with serving(Serving(FLOWS / "echo", host="0.0.0.0", port=0)) as served:
        assert served.key_at is not None
        file = Path(served.key_at)
        assert file.stat().st_mode & 0o777 == 0o600
        key = file.read_text().strip()
        url = f"{served.address}/score"
        assert httpx.post(url, json={"question": "x"}, timeout=DEADLINE).status_code == 401
        headers = {"authorization": f"Bearer {key}", "host": "flows.example"}
        answer = httpx.post(url, json={"question": "x"}, headers=headers, timeout=DEADLINE)
        assert answer.status_code == 200
        for pid in served.supervisor.pids:
            for place in ("cmdline", "environ"):
                assert key.encode() not in Path(f"/proc/{pid}/{place}").read_bytes()


def test_what_cannot_be_served_is_said_before_anything_starts(home: Home, tmp_path: Path) -> None:
    with pytest.raises(NotFound), serving(Serving(tmp_path)):
        pass
    with (
        pytest.raises(UsageError, match="no address"),
        serving(Serving(FLOWS / "echo", host="192.0.2.1", port=0)),
    ):
        pass
    (tmp_path / "key").write_text("short\n")
    with (
        pytest.raises(InvalidInput, match="5 characters"),
        serving(Serving(FLOWS / "echo", key_file=tmp_path / "key")),
    ):
        pass


def test_a_flow_that_does_not_import_is_refused_with_its_codes(home: Home, tmp_path: Path) -> None:
    for file in (FLOWS / "bare").iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "say.py").write_text(
        "from promptflow import tool\nimport not_there_at_all\n\n@tool\ndef say():\n    pass\n"
    )
    with pytest.raises(FlowError) as caught, serving(Serving(tmp_path, port=0)):
        pass
    assert caught.value.codes[0] == "UserError"
    assert "not_there_at_all" in str(caught.value)


def test_connections_that_code_names_are_brought_along(home: Home, tmp_path: Path) -> None:
    spec = {
        "name": "faq",
        "configs": {"api_base": "http://127.0.0.1:1/v1"},
        "secrets": {"key": "k"},
    }
    Client().connections.create(ConnectionSpec.model_validate(spec))
    (tmp_path / "ask.prompty").write_text(
        "---\nmodel:\n  configuration: {connection: faq, model: m}\n---\nuser:\nHello\n"
    )
    made = build_folder(tmp_path / "ask.prompty", tmp_path / "dist")
    assert (made.connections, made.variables[0]) == (["faq"], "FAQ_KEY")
    folder = tmp_path / "class"
    folder.mkdir()
    (folder / "flow.flex.yaml").write_text("entry: say:Say\n")
    (folder / "say.py").write_text(
        "from promptflow.connections import CustomConnection\n\n\nclass Say:\n"
        "    def __init__(self, by: CustomConnection):\n        self.by = by\n\n"
        "    def __call__(self, question: str):\n        return self.by.api_base\n"
    )
    with serving(Serving(folder, port=0, init={"by": "faq"})) as served:
        answer = httpx.post(f"{served.address}/score", json={"question": "x"}, timeout=DEADLINE)
    assert answer.json() == "http://127.0.0.1:1/v1", answer.text


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_said(home: Home, port: int) -> None:
    with pytest.raises(UsageError, match="no port"), serving(Serving(FLOWS / "echo", port=port)):
        pass
