from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from phoundry.cli.flow_inputs import read_inputs
from phoundry.client.flow_serving import build_folder
from phoundry.errors import Conflict, InvalidInput, TooLarge, UsageError
from phoundry.flows.batch import snapshot
from phoundry.flows.load import load_flow
from phoundry.flows.prepare import Connections
from phoundry.serving.flow import copying
from phoundry.serving.flow.build import build, variable_of, variables_of
from phoundry.serving.flow.connection_files import ConnectionFiles
from phoundry.serving.flow.copying import copy_flow

CANARY = "canary-secret-4711"
YAML = """\
inputs:
  question: {type: string}
outputs:
  answer: {type: string, reference: "${say.output}"}
environment_variables:
  REGION: ${env:REGION}
  PLACE: ${env:PLACE:-here}
additional_includes:  # what others share
- ../shared
nodes:
- name: say
  type: python
  source: {type: code, path: say.py}
  inputs: {question: "${inputs.question}"}
"""
TOOL = """\
import os

from promptflow import tool
from promptflow.connections import CustomConnection

from shared.words import WORD


@tool
def say(question: str, connection: CustomConnection):
    known = connection.token == os.environ["EXPECTED"]
    return f"{WORD} {question} {connection.api_base} {known} {os.environ['REGION']}"
"""


@pytest.fixture
def flow_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGION", "EU")
    folder = tmp_path / "My Flow"
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(YAML)
    (folder / "say.py").write_text(TOOL)
    (folder / "requirements.txt").write_text(
        "promptflow[azure]==1.18.5\npromptflow-tools\nrequests\n"
    )
    (folder / ".env").write_text(f"TOKEN={CANARY}")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "words.py").write_text("WORD = 'Well,'\n")
    return folder


def connections() -> Connections:
    values = {
        "name": "faq",
        "type": "custom",
        "configs": {"api_base": "http://127.0.0.1:7411/v1"},
        "secrets": {"token": CANARY},
    }
    return Connections({"say.connection": "faq"}, {"faq": values}, {})


@pytest.fixture
def built(flow_folder: Path, tmp_path: Path) -> Path:
    flow = load_flow(flow_folder)
    made = build(flow, connections(), tmp_path / "dist", kind="docker")
    assert made.variables == ["FAQ_TOKEN", "REGION", "PHOUNDRY_FLOW_KEY"]
    assert made.connections == ["faq"]
    (notice,) = made.notices
    assert "'api_base' of the connection 'faq' leads to this machine" in notice
    return made.path


def test_what_is_in_it(built: Path) -> None:
    files = {str(it.relative_to(built)) for it in built.rglob("*") if it.is_file()}
    assert files == {
        ".dockerignore",
        "Dockerfile",
        "README.md",
        "connections/faq.yaml",
        "flow/flow.dag.yaml",
        "flow/requirements.txt",
        "flow/say.py",
        "flow/shared/words.py",
        "requirements.txt",
        "settings.json",
        "start.sh",
    }
    assert "${env:FAQ_TOKEN}" in (built / "connections" / "faq.yaml").read_text()
    assert json.loads((built / "settings.json").read_text())["FAQ_TOKEN"] == ""
    kept = (built / "flow" / "flow.dag.yaml").read_text()
    assert "additional_includes" not in kept
    assert 'reference: "${say.output}"' in kept
    lines = (built / "requirements.txt").read_text().splitlines()
    assert lines[-3].startswith("# promptflow[azure]")
    assert lines[-2:] == ["promptflow-tools", "requests"]


def test_no_secret_is_in_it(built: Path) -> None:
    for file in built.rglob("*"):
        if file.is_file():
            assert CANARY.encode() not in file.read_bytes(), file


def test_the_docker_file_runs_as_nobody_special_and_looks_after_itself(built: Path) -> None:
    text = (built / "Dockerfile").read_text()
    assert text.index("USER flow") < text.index("CMD")
    assert "HEALTHCHECK" in text
    assert "FROM python:3." in text
    assert "$name" not in (built / "README.md").read_text()


def test_it_runs_by_itself(built: Path, tmp_path: Path) -> None:
    away = tmp_path / "elsewhere"
    built.rename(away)
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("src")),
        "HOME": str(tmp_path),
        "FAQ_TOKEN": CANARY,
        "EXPECTED": CANARY,
        "REGION": "EU",
        "PORT": "0",
    }
    process = subprocess.Popen(
        [str(away / "start.sh")], env=environ, stderr=subprocess.PIPE, text=True, cwd="/"
    )
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        assert "answers at" in first, first + process.stderr.read()
        url = f"{first.split()[-1]}/score"
        answer = httpx.post(url, json={"question": "now"}, timeout=60)
        assert answer.json() == {"answer": "Well, now http://127.0.0.1:7411/v1 True EU"}
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()


def test_every_variable_that_is_not_set_is_named(built: Path) -> None:
    (built / "connections" / "other.yaml").write_text(
        "type: custom\nconfigs: {place: 'https://${env:HOST_NAME}/v1'}\nsecrets: {key: x}\n"
    )
    with pytest.raises(InvalidInput) as caught:
        ConnectionFiles(built / "connections", {})
    assert "FAQ_TOKEN" in str(caught.value)
    assert "HOST_NAME" in str(caught.value)
    found = ConnectionFiles(built / "connections", {"FAQ_TOKEN": "t", "HOST_NAME": "h"})
    assert found.values("other").configs == {"place": "https://h/v1"}
    assert found.values("faq").secrets == {"token": "t"}


def test_a_connection_that_cannot_be_used_is_told_without_its_values(tmp_path: Path) -> None:
    text = "type: azure_open_ai\napi_base: 3\nsecrets: {other: '${env:TOKEN}'}\n"
    (tmp_path / "faq.yaml").write_text(text)
    with pytest.raises(InvalidInput) as caught:
        ConnectionFiles(tmp_path, {"TOKEN": CANARY})
    assert "azure_open_ai needs api_key" in str(caught.value)
    assert CANARY not in str(caught.value)


def test_an_endpoint_by_its_name_is_built_in(flow_folder: Path, tmp_path: Path) -> None:
    values = {**connections().values["faq"], "name": "endpoint:faq"}
    taken = Connections({"say.connection": "endpoint:faq"}, {"endpoint:faq": values}, {})
    made = build(load_flow(flow_folder), taken, tmp_path / "dist", kind="folder")
    assert made.variables[0] == "ENDPOINT_FAQ_TOKEN"
    files = ConnectionFiles(made.path / "connections", {"ENDPOINT_FAQ_TOKEN": CANARY})
    assert files.values("endpoint:faq").secrets == {"token": CANARY}


def test_a_folder_that_holds_something_is_left_alone(
    flow_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGION", "EU")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(Conflict):
        build(load_flow(flow_folder), Connections(), tmp_path / "full", kind="folder")
    assert [it.name for it in (tmp_path / "full").iterdir()] == ["mine"]


def test_names_of_variables() -> None:
    assert variable_of("open_ai connection", "api_key") == "OPEN_AI_CONNECTION_API_KEY"
    assert variable_of("2nd-one", "key") == "_2ND_ONE_KEY"


def test_names_that_would_be_one_are_told_apart(flow_folder: Path, tmp_path: Path) -> None:
    def values(name: str) -> dict[str, Any]:
        return {"name": name, "type": "custom", "configs": {}, "secrets": {"key": CANARY}}

    given = {name: values(name) for name in ("a_b", "a-b", "endpoint:x", "endpoint-x")}
    given["phoundry_flow"] = values("phoundry_flow")  # its key is not the server's
    for order in (given, dict(reversed(given.items()))):
        assert variables_of(order) == {
            ("a-b", "key"): "A_B_KEY",
            ("a_b", "key"): "A_B_KEY_2",
            ("endpoint-x", "key"): "ENDPOINT_X_KEY",
            ("endpoint:x", "key"): "ENDPOINT_X_KEY_2",
            ("phoundry_flow", "key"): "PHOUNDRY_FLOW_KEY_2",
        }
    found = Connections({}, given, {})
    made = build(load_flow(flow_folder), found, tmp_path / "dist", kind="folder")
    files = {item.name: item.read_text() for item in (made.path / "connections").iterdir()}
    assert sorted(files) == [
        "a-b.yaml", "a_b.yaml", "endpoint-x-2.yaml", "endpoint-x.yaml", "phoundry_flow.yaml"
    ]  # fmt: skip
    assert "name: endpoint:x\n" in files["endpoint-x-2.yaml"]
    assert "${env:ENDPOINT_X_KEY_2}" in files["endpoint-x-2.yaml"]
    assert {"A_B_KEY", "A_B_KEY_2", "PHOUNDRY_FLOW_KEY_2"} <= set(made.variables)


FLEX = """\
class Chat:
    def __init__(self, tone: str, connection: str = ""):
        self.tone = tone

    def __call__(self, question: str):
        return f"{self.tone}: {question}"
"""


@pytest.mark.usefixtures("home")
def test_arguments_of_a_class_are_built_in(flow_folder: Path, tmp_path: Path) -> None:
    flex = tmp_path / "flex"
    flex.mkdir()
    (flex / "flow.flex.yaml").write_text("entry: chat:Chat\n")
    (flex / "chat.py").write_text(FLEX)
    made = build_folder(flex, tmp_path / "dist", kind="folder", init={"tone": "é b"})
    assert json.loads((made.path / "init.json").read_text()) == {"tone": "é b"}
    start = (made.path / "start.sh").read_text()
    assert "--init init.json" in start
    assert read_inputs([str(made.path / "init.json")], "--init") == {"tone": "é b"}
    for path, init in ((flow_folder, {"tone": "x"}), (flex, {"api_key": CANARY})):
        with pytest.raises(UsageError, match=r"takes no init|looks like a secret: api_key") as told:
            build_folder(path, tmp_path / "none", init=init)
        assert CANARY not in str(told.value)
    assert not (tmp_path / "none").exists()


def test_a_copy_has_the_included_files_over_the_flows_own(
    flow_folder: Path, tmp_path: Path
) -> None:
    (flow_folder / "flow.dag.yaml").write_text(
        YAML.replace("../shared", "../shared\n- ../shared.zip")
    )
    (flow_folder / "shared").mkdir()
    (flow_folder / "shared" / "words.py").write_text("WORD = 'Own,'\n")
    copy_flow(load_flow(flow_folder), tmp_path / "copy")
    assert (tmp_path / "copy" / "shared" / "words.py").read_text() == "WORD = 'Well,'\n"
    with zipfile.ZipFile(tmp_path / "copy" / "shared.zip") as archive:
        assert archive.namelist() == ["shared/words.py"]


def test_a_copy_that_lacks_a_tool_is_not_made(flow_folder: Path, tmp_path: Path) -> None:
    (flow_folder / "env").mkdir()
    (flow_folder / "say.py").rename(flow_folder / "env" / "say.py")
    (flow_folder / "flow.dag.yaml").write_text(YAML.replace("say.py", "env/say.py"))
    with pytest.raises(Conflict, match=r"env/say\.py"):
        copy_flow(load_flow(flow_folder), tmp_path / "copy")


def test_a_folder_with_everything_in_it_is_not_copied_in_part(
    flow_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (snapshot, copying):
        monkeypatch.setattr(module, "MOST_FILES", 2)
    with pytest.raises(TooLarge, match="more than 2 files"):
        copy_flow(load_flow(flow_folder), tmp_path / "copy")
