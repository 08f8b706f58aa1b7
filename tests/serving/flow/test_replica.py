"""The worker of a deployed flow: what it is told, what it writes, what it answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from phoundry.compute import workers
from phoundry.files import read_json, sha256_file
from phoundry.flows.load import load_flow
from phoundry.serving.flow.packing import pack, unpack
from phoundry.serving.flow.replica import TRACES
from phoundry.spool import BoundedSpool, Spool
from tests.serving.flow.inside import FLOWS
from tests.serving.flow.test_serving import until

CANARY = "canary-secret-4711"
TOKEN = "token-of-this-replica"
MODULE = "phoundry.serving.flow.replica"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def told(packed: Path, **more: Any) -> dict[str, Any]:
    return {
        "name": "chat/blue",
        "packed": str(packed),
        "sha256": sha256_file(packed),
        "file": "flow.dag.yaml",
        "chosen": {"say.connection": "c"},
        "overrides": {},
        "threads": 2,
        "timeout_seconds": 10,
        "grace_seconds": 5,
        "token": TOKEN,
        **more,
    }


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    folder = tmp_path / "flow"
    unpack(_packed(FLOWS / "echo", tmp_path), folder)
    (folder / "say.py").write_text(
        "from promptflow import tool\nfrom promptflow.connections import CustomConnection\n\n\n"
        "@tool\ndef say(question: str, connection: CustomConnection):\n"
        "    print('the key is', connection.key)\n    return question\n"
    )
    return _packed(folder, tmp_path)


def _packed(folder: Path, place: Path) -> Path:
    file = place / "packed.zip"
    file.write_bytes(pack(load_flow(folder)))
    return file


@pytest.fixture
def run_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "run"
    yield folder
    workers.kill(folder)


def private() -> bytes:
    values = {"name": "c", "type": "custom", "configs": {}, "secrets": {"key": CANARY}}
    return json.dumps({"values": {"c": values}}).encode()


def test_it_answers_the_gateway_alone_and_keeps_secrets(packed: Path, run_dir: Path) -> None:
    pid = workers.start(run_dir, MODULE, told(packed, traced=True), private=private())
    until(lambda: (run_dir / "ready.json").exists() or (run_dir / "result.json").exists())
    ready = read_json(run_dir / "ready.json")
    assert ready, (run_dir / "log.txt").read_text()
    url = f"http://127.0.0.1:{ready['port']}"
    headers = {"authorization": f"Bearer {TOKEN}"}
    asked = {"question": "hi"}
    http = httpx.Client(base_url=url, timeout=60, trust_env=False)
    assert http.post("/score", json=asked).status_code == 401
    of_caller = headers | {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "r1"}
    assert http.post("/score", json=asked, headers=of_caller).json() == {"answer": "hi"}
    for kind in ("live", "ready"):
        assert http.get(f"/health/{kind}").status_code == 200
    http.close()
    until(lambda: "the key is ***" in (run_dir / "log.txt").read_text())
    until(lambda: BoundedSpool(run_dir / TRACES).read()[0])
    ([event], _) = BoundedSpool(run_dir / TRACES).read()
    assert [event[name] for name in ("within", "parent", "request")] == [TRACE, PARENT, "r1"]
    assert [span["kind"] for span in event["spans"]] == ["node", "flow"]
    for file in run_dir.rglob("*"):
        assert not file.is_file() or CANARY.encode() not in file.read_bytes(), file
    for place in ("cmdline", "environ"):
        assert CANARY.encode() not in Path(f"/proc/{pid}/{place}").read_bytes()
    workers.terminate(run_dir)
    until(lambda: not workers.inspect(run_dir).running)
    assert (workers.inspect(run_dir).result or {})["status"] == "succeeded"
    kinds = [each["kind"] for each in Spool(run_dir / "events.jsonl").read()[0]]
    assert kinds == ["started", "ready", "stopping"]


def test_files_that_have_changed_are_not_served(packed: Path, run_dir: Path) -> None:
    workers.start(run_dir, MODULE, told(packed, sha256="0" * 64), private=private())
    until(lambda: (run_dir / "result.json").exists())
    assert read_json(run_dir / "result.json")["error"]["code"] == "Conflict"


def test_the_same_files_are_the_same_bytes(tmp_path: Path) -> None:
    flow = load_flow(FLOWS / "echo")
    assert pack(flow) == pack(flow)
