"""`phoundry flow`: the contract that tools rely on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from phoundry.cli.flow_inputs import read_inputs
from phoundry.errors import InvalidInput, NotFound
from tests.cli.conftest import Shell
from tests.client.flow_folders import asking_flow, echo_flow


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    return echo_flow(tmp_path / "echo")


def test_one_document_on_standard_output(shell: Shell, flow: Path) -> None:
    done = shell("flow", "test", str(flow), "--inputs", "question=Hi", "-o", "json")
    assert (done.code, done.err) == (0, "")
    assert done.json == {
        "status": "Completed",
        "output": {"answer": "0: Hi"},
        "nodes": {"echo": "Completed"},
        "metrics": {},
        "error": None,
    }


def test_inputs_of_a_file_and_of_words(shell: Shell, flow: Path, tmp_path: Path) -> None:
    file = tmp_path / "inputs.json"
    file.write_text(json.dumps({"question": "from file", "chat_history": [1, 2]}))
    done = shell("flow", "test", str(flow), "--inputs", str(file), "-o", "json")
    assert done.json["output"] == {"answer": "2: from file"}
    words = ["--inputs", str(file), "--inputs", "question=mine"]
    assert shell("flow", "test", str(flow), *words, "-o", "json").json["output"] == {
        "answer": "2: mine"
    }


def test_a_failing_node(shell: Shell, flow: Path) -> None:
    done = shell("flow", "test", str(flow), "--inputs", "question=fail", "-o", "json")
    assert done.code == 1
    assert (done.json["status"], done.json["nodes"]) == ("Failed", {"echo": "Failed"})
    assert "asked to fail" in done.json["error"]["message"]
    error = done.json["error"]
    assert error["code"] in error["codes"]
    told = shell("flow", "test", str(flow), "--inputs", "question=fail")
    assert told.code == 1
    assert "asked to fail" in told.err


def test_a_flow_that_cannot_run_is_a_document_too(shell: Shell, tmp_path: Path) -> None:
    done = shell("flow", "test", str(tmp_path / "nothing"), "-o", "json")
    assert (done.code, done.json["status"], done.err) == (1, "Failed", "")
    wanting = asking_flow(tmp_path / "asking")
    missing = shell("flow", "test", str(wanting), "-o", "json")
    assert missing.code == 1
    assert "ask.connection" in missing.json["error"]["message"]
    assert "phoundry connection create" in shell("flow", "test", str(wanting)).err


def test_connections_are_chosen_and_remembered(shell: Shell, tmp_path: Path) -> None:
    wanting = asking_flow(tmp_path / "asking")
    for name in ("one", "two"):
        words = ["connection", "create", name, "--set", f"endpoint=http://{name}"]
        shell(*words, "--secret", "key", "--secret-stdin", stdin="secret-value\n")
    test = ["flow", "test", str(wanting), "-o", "json"]
    assert shell(*test).code == 1
    chosen = shell(*test, "--connections", "ask.connection=two")
    assert "http://two" in chosen.json["output"]["answer"]
    assert "http://two" in shell(*test).json["output"]["answer"]


@pytest.mark.parametrize(
    "words", [["--inputs", "novalue"], ["--connections", "x"], ["--environment-variables", "X"]]
)
def test_wrong_calls_exit_with_2(shell: Shell, flow: Path, words: list[str]) -> None:
    assert shell("flow", "test", str(flow), *words).code == 2


def test_environment_variables_reach_the_flow(
    shell: Shell, flow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", os.environ.copy())
    tool = flow / "echo.py"
    tool.write_text(tool.read_text().replace("{question}", "{__import__('os').environ['SAY']}"))
    words = ["--inputs", "question=x", "--environment-variables", "SAY=hello", "-o", "json"]
    assert shell("flow", "test", str(flow), *words).json["output"] == {"answer": "0: hello"}


def test_init_makes_a_folder_that_is_a_flow(shell: Shell, tmp_path: Path) -> None:
    made = shell("flow", "init", str(tmp_path / "new"), "--connection", "faq", "-o", "json")
    assert made.code == 0
    assert "flow.dag.yaml" in made.json["files"]
    assert "connection: faq" in (tmp_path / "new" / "flow.dag.yaml").read_text()
    assert shell("flow", "init", str(tmp_path / "new")).code == 1


def test_a_file_of_inputs_must_hold_an_object(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_inputs([str(tmp_path / "no.json")])
    for text in ("[1]", "nonsense", '"x"'):
        file = tmp_path / "in.json"
        file.write_text(text)
        with pytest.raises(InvalidInput, match="JSON"):
            read_inputs([str(file)])
    lines = tmp_path / "in.jsonl"
    lines.write_text('{"a": 1}\n{"a": 2}\n')
    assert read_inputs([str(lines), "b=x=y"]) == {"a": 1, "b": "x=y"}
