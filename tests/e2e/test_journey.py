"""The whole journey with a tiny Phi-3: the commands a user types, the clients they have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.site import Site, contents, files

pytestmark = [pytest.mark.xdist_group("journey")]
ASKED = [{"role": "user", "content": "What is red, case 1?"}]


def key(site: Site) -> str:
    return str(site.json("endpoint", "keys", "colours")["primaryKey"])


def score(site: Site, **changes: Any) -> httpx.Response:
    endpoint = site.json("endpoint", "show", "colours")
    body = {"input_data": {"input_string": ASKED, "parameters": {"max_new_tokens": 12}}}
    headers = {"Authorization": f"Bearer {key(site)}"} | changes.pop("headers", {})
    return httpx.post(endpoint["scoring_uri"], json=body, headers=headers, timeout=60, **changes)


def test_everything_is_there_and_knows_what_it_came_from(site: Site) -> None:
    asset = site.json("data", "show", "colours")
    (job,) = [each for each in site.json("job", "list") if each["type"] == "finetuning"]
    model = site.json("model", "show", "colours")
    deployment = site.json("deployment", "list", "--endpoint", "colours")[0]
    assert (asset["train"]["rows"], asset["test"]["rows"]) == (16, 4)
    assert job["status"] == "Completed"
    assert job["training_data"] == "colours:1"
    assert job["metrics"]["eval_loss"] < job["metrics"]["first_eval_loss"]
    assert model["job"] == job["name"]
    assert deployment["model"] == f"colours:{model['version']}"
    assert site.json("endpoint", "show", "colours")["traffic"] == {deployment["name"]: 100}


def test_a_second_up_does_nothing_twice(site: Site) -> None:
    before = {noun: site.json(noun, "list") for noun in ("job", "model", "data")}
    flags = ["--set", "num_train_epochs=15", "--set", "learning_rate=5e-3", "--set", "lora_r=4"]
    flags += ["--set", "apply_lora=true"]
    site.ok("up", str(site.data), "--model", str(site.model), *flags)
    after = {noun: site.json(noun, "list") for noun in ("job", "model", "data")}
    assert [len(found) for found in after.values()] == [len(found) for found in before.values()]
    assert after["job"][0]["finished_at"] == before["job"][0]["finished_at"]


def test_the_endpoint_answers_as_the_tutorial_expects(site: Site) -> None:
    answer = score(site)
    assert answer.status_code == 200
    assert isinstance(answer.json()["output"], str)
    assert answer.headers["azureml-model-deployment"] == "tuned-1"


def test_openais_client_streams_the_same_answer(site: Site) -> None:
    from openai import OpenAI

    endpoint = site.json("endpoint", "show", "colours")
    client = OpenAI(base_url=endpoint["openai_base_url"], api_key=key(site))
    assert [model.id for model in client.models.list()] == ["colours", "colours/tuned-1"]
    settings: dict[str, Any] = {"model": "colours", "messages": ASKED, "temperature": 0}
    whole = client.chat.completions.create(**settings, max_tokens=12)
    pieces = client.chat.completions.create(**settings, max_tokens=12, stream=True)
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert text == whole.choices[0].message.content
    assert text == score(site).json()["output"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Authorization": "Bearer wrong"}, 401), ({"azureml-model-deployment": "grey"}, 404)],
)
def test_who_may_not_or_names_nothing(site: Site, headers: dict[str, str], status: int) -> None:
    assert score(site, headers=headers).status_code == status


def test_plain_mlflow_loads_and_answers(site: Site) -> None:
    """In a process that knows nothing of Phoundry but the tracking URI."""
    uri = site.json("status")["tracking_uri"]
    program = (
        "import json, sys, mlflow\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model('models:/colours/1')\n"
        "asked = json.loads(sys.argv[2])\n"
        "print(json.dumps(model.predict({'messages': asked, 'max_tokens': 12})))\n"
    )
    # MLflow keeps what another test has set in the environment, which would lead elsewhere.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    done = subprocess.run(
        [sys.executable, "-c", program, uri, json.dumps(ASKED)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    said = answer["choices"][0]["message"]["content"]
    # Q8_0 rounds the weights of so small a model noticeably: the first words agree.
    assert said[:3] == score(site).json()["output"][:3]


def test_no_pickle_anywhere(site: Site) -> None:
    suffixes = {".pkl", ".pickle", ".bin", ".pt", ".pth", ".joblib"}
    found = [path for path in files(site.home) if path.suffix in suffixes]
    assert found == []


def test_the_key_is_in_no_file_and_in_no_ones_arguments(site: Site) -> None:
    secret = key(site)
    for path, content in contents(site.home):
        assert secret.encode() not in content, path
    for process in psutil.process_iter(["cmdline"]):
        assert secret not in " ".join(process.info["cmdline"] or [])


def test_the_flow_that_was_made_chats(site: Site) -> None:
    flow = str(site.home / "flows" / "colours")
    said = site.ok("chat", flow, "--message", "What is red, case 1?")
    assert said.strip()
    talk = site.ok("chat", flow, stdin="What is blue, case 2?\n/reset\n/exit\n")
    assert talk.strip()
    result = site.json("flow", "test", flow, "--inputs", "question=What is red, case 1?")
    assert result["status"] == "Completed"


def test_the_tutorials_folder_chats_unmodified(site: Site, tmp_path: Path) -> None:
    folder = Path(__file__).parents[3] / "shared" / "reference" / "tutorial"
    if not folder.exists():
        pytest.skip(f"{folder} is not there: the tutorial's own files are not part of the project")
    flow = tmp_path / "flow"
    flow.mkdir()
    for name in ("flow.dag.yml", "integrate_with_promptflow.py"):
        (flow / name).write_bytes((folder / name).read_bytes())
    said = site.ok("chat", str(flow), "--message", "What is red, case 1?")
    assert said.strip()
    for name in ("flow.dag.yml", "integrate_with_promptflow.py"):
        assert (flow / name).read_bytes() == (folder / name).read_bytes()


def test_status_names_what_runs(site: Site) -> None:
    until = time.monotonic() + 60
    kinds: list[str] = []
    while kinds != ["gateway", "replica"] and time.monotonic() < until:
        # A worker whose work is done is there for a moment more.
        status = site.json("status")
        kinds = sorted(process["kind"] for process in status["processes"])
    assert kinds == ["gateway", "replica"]
    assert status["address"]
    assert status["gateway_address"]
