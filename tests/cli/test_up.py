"""`phoundry up`, `down` and `status`, and following a journey."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from phoundry.cli.output import program
from phoundry.cli.progress import step_lines
from phoundry.cli.up import curl
from phoundry.server.launch import ServerInfo
from phoundry.specs.job import Job
from phoundry.specs.journey import Journey
from tests.cli.conftest import Shell
from tests.client.fake_api import CREATED, KEY, TOKEN, FakeApi

STEPS = [("data", "Check the data"), ("train", "Fine-tune"), ("deploy", "Deploy")]


def steps(*states: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "title": title, "state": state, "message": "all well"}
        for (name, title), state in zip(STEPS, states, strict=True)
    ]


@pytest.fixture
def started(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """The fake stands in for the control plane that `up` would start."""
    info = ServerInfo(api.url, TOKEN, "http://gateway", 1)
    monkeypatch.setattr("phoundry.server.launch.ensure_running", lambda *_, **__: info)
    return api


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    file = tmp_path / "my faq.jsonl"
    file.write_text('{"messages": []}\n')
    return file


def test_up_walks_from_data_to_chat(shell: Shell, started: FakeApi, chats: Path) -> None:
    started.journey_states = [
        {"state": "running", "steps": steps("done", "running", "waiting")},
        {"state": "running", "steps": steps("done", "done", "running")},
        {"state": "done", "steps": steps("done", "done", "done")},
    ]
    done = shell("up", str(chats), "--set", "num_train_epochs=3", "--model", "m")
    assert done.code == 0
    finals = [line for line in done.err.splitlines() if line.startswith("✓")]
    assert finals == [f"✓ {title}: all well" for _, title in STEPS]
    sent = started.resources["journeys"]["my-faq"]["spec"]
    assert sent["data"] == "my-faq:1"
    project = sent["project"]
    assert (project["model"], project["finetune"]) == ("m", {"num_train_epochs": 3})
    assert project["data"] == {"source": str(chats)}
    assert f"{started.url}/endpoints/my-faq/score" in done.out
    assert KEY not in done.out + done.err
    assert f"phoundry chat {sent['flow_path']}" in done.err


def test_a_second_up_takes_the_same_data_up_again(
    shell: Shell, started: FakeApi, chats: Path
) -> None:
    started.journey_states = [{"state": "done", "steps": steps("done", "done", "done")}]
    for _ in range(2):
        assert shell("up", str(chats), "-o", "json").json["state"] == "done"
    assert started.seen.count(("POST", "/api/data")) == 1
    chats.write_text('{"messages": [1]}\n')
    shell("up", str(chats), "-o", "json")
    assert started.resources["journeys"]["my-faq"]["spec"]["data"] == "my-faq:2"


def test_a_failed_step_fails_the_command(shell: Shell, started: FakeApi, chats: Path) -> None:
    error = {"code": "InsufficientResources", "message": "The disk is full."}
    failed = {"state": "failed", "steps": steps("done", "failed", "waiting"), "error": error}
    started.journey_states = [failed]
    done = shell("up", str(chats))
    assert done.code == 1
    assert "✗ Fine-tune" in done.err
    assert done.err.endswith("Error: The disk is full.\n")


def test_a_training_step_shows_where_its_job_is() -> None:
    journey = Journey.model_validate(
        {"name": "n", "state": "running", "created_at": CREATED}
        | {"steps": steps("done", "running", "waiting")}
    )
    job = Job.model_validate(
        {"name": "j", "status": "Running", "model": "m", "training_data": "d"}
        | {"created_at": CREATED, "progress": {"step": 3, "max_steps": 9, "loss": 1.5}}
    )
    told: set[str] = set()
    assert list(step_lines(journey, job, told)) == [
        ("✓ Check the data: all well", None),
        ("▸ Fine-tune: step 3/9, loss 1.500", "train"),
    ]
    assert [line for line, _ in step_lines(journey, job, told)] == [
        "▸ Fine-tune: step 3/9, loss 1.500"
    ]


def test_up_without_data_prints_the_addresses(shell: Shell, started: FakeApi) -> None:
    done = shell("up")
    assert done.code == 0
    assert f"Phoundry runs at {started.url}" in done.err
    assert TOKEN not in done.out + done.err
    assert shell("up", "-o", "json").json["running"] is True


def test_foreground_takes_no_data(shell: Shell, chats: Path) -> None:
    assert shell("up", str(chats), "--foreground").code == 2


def test_down_and_status_where_nothing_runs(shell: Shell) -> None:
    assert shell("down").err == "Phoundry does not run.\n"
    status = shell("status")
    assert status.code == 0
    assert "running       no" in status.out
    assert "Next: phoundry up" in status.err


def test_the_curl_line_works_when_it_is_copied(tmp_path: Path) -> None:
    """A shell runs the line; stand-ins for curl and phoundry show what it would send."""
    for name, text in {
        "curl": "import sys, json; print(json.dumps(sys.argv[1:]))",
        "phoundry": 'import sys; print("THE-KEY" if sys.argv[1:3] == ["endpoint", "keys"] else "")',
    }.items():
        script = tmp_path / name
        script.write_text(f"#!{sys.executable}\n{text}\n")
        script.chmod(0o755)
    line = curl("faq", "http://127.0.0.1:1/endpoints/faq/score", 'What\'s a $permit "here"?')
    done = subprocess.run(
        ["sh", "-c", line],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    sent = json.loads(done.stdout)
    assert sent[0] == "http://127.0.0.1:1/endpoints/faq/score"
    assert "Authorization: Bearer THE-KEY" in sent
    body = json.loads(sent[sent.index("-d") + 1])
    assert body["input_data"]["input_string"][0]["content"] == 'What\'s a $permit "here"?'


def test_suggestions_name_a_program_that_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [str(tmp_path / ".venv/bin/phoundry")])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert program() == ".venv/bin/phoundry"
    monkeypatch.setattr("sys.argv", ["pytest"])
    assert program() == "phoundry"


@pytest.mark.slow
def test_a_real_control_plane_comes_up_and_goes(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, free_ports: tuple[int, int]
) -> None:
    ports = [f"--port={free_ports[0]}", f"--gateway-port={free_ports[1]}"]
    try:
        up = shell("up", *ports, "-o", "json")
        assert up.code == 0
        assert up.json["running"] is True
        address = up.json["address"]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)
        assert shell("up", "-o", "json").json["address"] == address
        assert shell("endpoint", "create", "faq").code == 0
        key = shell("endpoint", "keys", "faq", "--only", "primary").out.strip()
        assert key
        assert shell("endpoint", "update", "faq", "--traffic", "blue=100").code == 1
        asked = shell("chat", "faq", "-m", "Hi", "-o", "json")
        assert asked.code == 1
        assert asked.error["code"] == "NotFound"
        assert key not in asked.err
    finally:
        down = shell("down")
    assert down.code == 0
    assert shell("status", "-o", "json").json["running"] is False
    assert [each["name"] for each in shell("endpoint", "list", "-o", "json").json] == ["faq"]
