"""`phoundry flow`: the contract that tools rely on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from phoundry.cli import flow_test
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


def test_words_that_cannot_be_parsed_are_a_document_too(shell: Shell, flow: Path) -> None:
    for words in (["--bad"], ["--inputs", "novalue"], ["--timeout", "soon"], ["--ui"]):
        done = shell("flow", "test", str(flow), *words, "-o", "json")
        assert (done.code, done.err, done.json["status"]) == (2, "", "Failed"), words
        assert done.json["error"]["codes"] == ["UsageError"]
    assert shell("flow", "test", "-o", "json").json["status"] == "Failed"


def test_files_that_cannot_be_used_are_a_document_too(
    shell: Shell, flow: Path, tmp_path: Path
) -> None:
    long = f"{'a' * 5000}.json"
    for words in (["--inputs", long], ["--detail", str(tmp_path)], ["--detail", f"{long}/x"]):
        done = shell("flow", "test", str(flow), "--inputs", "question=x", *words, "-o", "json")
        assert done.code in (1, 2), words
        assert done.json["status"] == "Failed"


def test_a_fault_of_ours_is_a_document_too(
    shell: Shell, flow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(flow_test, "once", broken)
    done = shell("flow", "test", str(flow), "--timeout", "9", "-o", "json")
    assert (done.code, done.json["error"]["code"]) == (1, "UnexpectedError")
    assert "Traceback" in done.err


def test_one_node_alone(shell: Shell, flow: Path) -> None:
    words = ["--node", "echo", "--inputs", "question=Hi", "-o", "json"]
    done = shell("flow", "test", str(flow), *words)
    assert (done.code, done.json["output"]) == (0, {"output": "0: Hi"})
    missing = shell("flow", "test", str(flow), "--node", "nobody", "-o", "json")
    assert missing.code == 1
    assert missing.json["error"]["codes"][-1] == "NodeReferenceNotFound"


def test_variables_of_the_command_line_go_over_the_flows(shell: Shell, flow: Path) -> None:
    file, tool = flow / "flow.dag.yaml", flow / "echo.py"
    file.write_text(file.read_text() + "\nenvironment_variables: {SAY: mine, ELSE: 1}\n")
    tool.write_text(tool.read_text().replace("{question}", "{__import__('os').environ['SAY']}"))
    words = ["--inputs", "question=x", "-o", "json"]
    assert shell("flow", "test", str(flow), *words).json["output"] == {"answer": "0: mine"}
    given = shell("flow", "test", str(flow), *words, "--environment-variables", "SAY=yours")
    assert given.json["output"] == {"answer": "0: yours"}


def test_the_whole_result_in_a_file(shell: Shell, flow: Path, tmp_path: Path) -> None:
    detail = tmp_path / "detail.json"
    words = ["--inputs", "question=Hi", "--detail", str(detail)]
    done = shell("flow", "test", str(flow), *words)
    assert done.code == 0
    written = json.loads(detail.read_text())
    assert (written["status"], written["output"]) == ("Completed", {"answer": "0: Hi"})
    assert "log" in written


def test_the_class_of_a_flex_flow_is_given_its_arguments(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "class App:\n    def __init__(self, tone: str):\n        self.tone = tone\n\n"
        "    def __call__(self, text: str):\n        return {'said': self.tone + text}\n"
    )
    (tmp_path / "flow.flex.yaml").write_text("entry: app:App\n")
    words = ["--inputs", "text=hi", "--init", "tone=oh ", "-o", "json"]
    done = shell("flow", "test", str(tmp_path), *words)
    assert (done.code, done.json["output"]) == (0, {"said": "oh hi"})
