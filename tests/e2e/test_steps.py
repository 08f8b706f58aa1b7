"""Each step by hand, and what goes wrong on the way. One home, walked in order."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psutil
import pytest

from tests.support.checkpoints import write_adapter
from tests.support.site import Site, contents, new_site

pytestmark = [pytest.mark.xdist_group("steps")]
CANARY = "canary-secret-91c4"


@pytest.fixture(scope="module")
def hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A home on which data and a model were made step by step."""
    made = new_site(tmp_path_factory.mktemp("hand"))
    try:
        made.ok("data", "create", "colours", "--source", str(made.data), "--test-size", "0.25")
        flags = ["--set", "max_steps=3", "--set", "apply_lora=true", "--set", "lora_r=2"]
        made.ok("train", str(made.model), "colours", "--name", "first", *flags)
        made.ok("model", "register", "colours", "--job", "first")
        yield made
    finally:
        made.run("down")


def until(condition: Callable[[], Any], seconds: float = 180) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)
    return found


def test_a_job_file_in_azures_words(hand: Site) -> None:
    path = hand.data.parent / "job.yaml"
    path.write_text(
        "type: finetuning\ntask: chat_completion\nmodel_provider: custom\nname: from-file\n"
        f"model: {hand.model}\ntraining_data: azureml:colours:1\ncompute: gpu-cluster\n"
        "hyperparameters:\n  max_steps: '2'\n  apply_lora: 'false'\n"
    )
    hand.ok("job", "create", "-f", str(path))
    job = until(lambda: _ended(hand, "from-file"))
    assert job["status"] == "Completed"
    assert job["parameters"]["apply_lora"] is False
    assert job["sources"]["max_steps"] == "user"
    assert "gpu-cluster" in job["notices"][0]
    assert "validation loss" in hand.ok("job", "logs", "from-file")


def test_a_killed_job_says_so_and_resumes(hand: Site) -> None:
    flags = ["--set", "max_steps=4000", "--set", "apply_lora=true", "--set", "lora_r=2"]
    hand.ok("train", str(hand.model), "colours", "--name", "killed", "--detach", *flags)
    until(lambda: hand.json("job", "show", "killed")["progress"]["step"] > 3)
    pid = _pid(hand, "killed")
    os.kill(pid, signal.SIGKILL)
    job = until(lambda: _ended(hand, "killed"))
    assert job["status"] == "Failed"
    assert "was killed" in job["error"]["message"]
    assert "phoundry job resume killed" in job["error"]["remedy"]
    hand.ok("job", "resume", "killed")
    until(lambda: hand.json("job", "show", "killed")["status"] == "Running")
    hand.ok("job", "cancel", "killed")
    assert until(lambda: _ended(hand, "killed"))["status"] == "Canceled"


def test_traffic_moves_between_deployments(hand: Site) -> None:
    hand.ok("endpoint", "create", "fruit")
    for name in ("blue", "green"):
        hand.ok("deployment", "create", f"fruit/{name}", "--model", "colours:1", "--no-gate")
    assert hand.json("endpoint", "show", "fruit")["traffic"] == {"blue": 100}
    hand.ok("endpoint", "update", "fruit", "--traffic", "blue=0,green=100")
    assert {_answered_by(hand) for _ in range(5)} == {"green"}
    assert _answered_by(hand, {"azureml-model-deployment": "blue"}) == "blue"
    refused = hand.run("deployment", "delete", "fruit/green", "-y")
    assert refused.returncode == 1
    assert "100 % of the live traffic" in refused.stderr
    hand.ok("endpoint", "update", "fruit", "--traffic", "green=0")
    assert _post(hand).status_code == 404
    replicas = [each["pid"] for each in hand.json("deployment", "list", "--endpoint", "fruit")]
    hand.ok("endpoint", "delete", "fruit", "-y")
    until(lambda: not any(psutil.pid_exists(pid) for pid in replicas))
    assert hand.run("endpoint", "show", "fruit").returncode == 1


def test_a_killed_replica_comes_back(hand: Site) -> None:
    hand.ok("endpoint", "create", "fruit")
    hand.ok("deployment", "create", "fruit/blue", "--model", "colours:1", "--no-gate")
    before = hand.json("deployment", "show", "fruit/blue")["pid"]
    os.kill(before, signal.SIGKILL)

    def back() -> bool:
        found = hand.json("deployment", "show", "fruit/blue")
        return found["pid"] not in (None, before) and _post(hand).status_code == 200

    until(back)
    assert hand.json("deployment", "show", "fruit/blue")["restarts"] == 1
    hand.ok("endpoint", "delete", "fruit", "-y")


def test_fine_tunes_of_one_base_share_a_process(hand: Site) -> None:
    """Each answers with its own adapter; a crash of what they share costs neither for good."""
    other = write_adapter(hand.model, hand.model.with_name("other"), size=0.6)
    hand.ok("model", "register", "other", "--path", str(other), "--base", str(hand.model))
    hand.ok("endpoint", "create", "fruit")
    for name, model in {"blue": "colours:1", "green": "other:1"}.items():
        flags = ["--adapter", "shared", "--no-gate"]
        hand.ok("deployment", "create", f"fruit/{name}", "--model", model, *flags)
    pool = until(lambda: _shared(hand))
    said = {name: _said(hand, name) for name in ("blue", "green")}
    assert said["blue"] != said["green"]

    os.kill(pool, signal.SIGKILL)
    until(lambda: _shared(hand) not in (0, pool))
    for name in said:  # the gateway is told a moment after it is known
        until(lambda name=name: _post(hand, _to(name)).status_code == 200)
    assert {name: _said(hand, name) for name in said} == said

    again = _shared(hand)
    hand.ok("endpoint", "update", "fruit", "--traffic", "blue=100,green=0")
    hand.ok("deployment", "delete", "fruit/green", "-y")
    until(lambda: len(hand.json("deployment", "list", "--endpoint", "fruit")) == 1)
    assert _said(hand, "blue") == said["blue"]
    assert psutil.pid_exists(again)
    hand.ok("endpoint", "delete", "fruit", "-y")
    until(lambda: not psutil.pid_exists(again))


def test_a_connections_secret_comes_from_stdin_and_is_never_shown(hand: Site) -> None:
    words = ["connection", "create", "other", "--set", "region=here", "--secret", "key"]
    hand.ok(*words, "--secret-stdin", stdin=f"key={CANARY}\n")
    shown = hand.ok("connection", "show", "other") + hand.ok("connection", "list", "-o", "yaml")
    assert CANARY not in shown
    assert "***" in shown
    inline = hand.run("connection", "create", "bad", "--secret", f"key={CANARY}")
    assert inline.returncode == 2
    assert CANARY not in inline.stderr
    for path, content in contents(hand.home):
        assert CANARY.encode() not in content, path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b'\xff\xfe{"messages": []}\n', "UTF-8"),
        (b'{"messages": [{"role": "user", "content": "alone"}]}\n', "assistant"),
        (b'{"messages": [{"role": "wizard", "content": "x"}]}\n', "wizard"),
    ],
)
def test_data_that_cannot_be_used(hand: Site, content: bytes, said: str) -> None:
    path = hand.data.parent / "bad.jsonl"
    path.write_bytes(content)
    done = hand.run("data", "create", "bad", "--source", str(path))
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert hand.run("data", "show", "bad").returncode == 1


def test_line_seven_is_named(hand: Site) -> None:
    lines = hand.data.read_text().splitlines()
    lines[6] = "{oops"
    path = hand.data.parent / "seven.jsonl"
    path.write_text("\n".join(lines))
    done = hand.run("data", "create", "seven", "--source", str(path))
    assert done.returncode == 1
    assert "seven.jsonl:7" in done.stderr


def test_unknown_models_and_parameters(hand: Site) -> None:
    done = hand.run("train", "smollm2-135m-instrct", "colours")
    assert done.returncode == 1
    assert "smollm2-135m-instruct" in done.stderr
    flags = ["--set", "learning_rat=1", "--set", "lora_r=none"]
    done = hand.run("train", str(hand.model), "colours", *flags)
    assert done.returncode != 0
    assert "learning_rate" in done.stderr
    assert "lora_r" in done.stderr


def _ended(site: Site, name: str) -> dict[str, Any] | None:
    job = site.json("job", "show", name)
    return job if job["status"] in ("Completed", "Failed", "Canceled") else None


def _pid(site: Site, name: str) -> int:
    record = json.loads((site.home / "runs" / f"job-{name}" / "process.json").read_text())
    return int(record["pid"])


def _post(site: Site, headers: dict[str, str] | None = None) -> httpx.Response:
    endpoint = site.json("endpoint", "show", "fruit")
    secret = site.json("endpoint", "keys", "fruit")["primaryKey"]
    asked = {"input_string": [{"role": "user", "content": "What?"}]}
    return httpx.post(
        endpoint["scoring_uri"],
        json={"input_data": asked | {"parameters": {"max_new_tokens": 4}}},
        headers={"Authorization": f"Bearer {secret}", **(headers or {})},
        timeout=60,
    )


def _shared(site: Site) -> int:
    """The process that all replicas of the endpoint share; 0 until all are ready, in one."""
    found = [
        replica["shared_pid"] if replica["state"] == "ready" else None
        for each in site.json("deployment", "list", "--endpoint", "fruit")
        for replica in each["replicas"]
    ]
    return int(found[0]) if found and found[0] and len({*found}) == 1 else 0


def _said(site: Site, name: str) -> str:
    answer = _post(site, _to(name))
    assert answer.status_code == 200, answer.text
    return answer.json()["output"]


def _to(name: str) -> dict[str, str]:
    return {"azureml-model-deployment": name}


def _answered_by(site: Site, headers: dict[str, str] | None = None) -> str:
    answer = _post(site, headers)
    assert answer.status_code == 200, answer.text
    return answer.headers["azureml-model-deployment"]
