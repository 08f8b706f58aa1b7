"""`PFClient` in scripts, over a home of its own."""

from __future__ import annotations

import builtins
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import NotFound
from phoundry.flows.errors import NotSupported, ToolExecutionError
from phoundry.promptflow.__main__ import main
from phoundry.promptflow.details import Details, as_table, columns_of


def module(name: str) -> Any:
    """A module under its Prompt flow name, which stands for something inside `client` only."""
    return importlib.import_module(name)


def test_a_run_is_as_prompt_flow_tells_it(run: Any, place: Path) -> None:
    assert (run.name, run.status, run.display_name, run.tags) == (
        "first", "Completed", "First", {"a": "b"},
    )  # fmt: skip
    assert run.properties["flow_path"] == str(place / "flow")
    assert run.properties["column_mapping"] == {"n": "${data.n}"}
    assert "canary-61" not in f"{run} {run._to_dict()}"


def test_details_and_metrics(client: Any, run: Any) -> None:
    table = client.get_details(run)
    assert list(table.columns) == ["inputs.n", "inputs.line_number", "outputs.half"]
    assert table["outputs.half"].to_list() == [0.5, 1.0, "(Failed)"]
    assert len(client.get_details("first", max_results=2)) == 2
    assert client.get_metrics(run) == {"mean": 0.75}


def test_details_without_pandas(client: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *more: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    table = client.get_details(run)
    assert isinstance(table, Details)
    assert table["outputs.half"] == [0.5, 1.0, "(Failed)"]
    assert table.head(1).to_dict("records") == [
        {"inputs.n": 1, "inputs.line_number": 0, "outputs.half": 0.5}
    ]
    assert "(Failed)" in str(table)
    with pytest.raises(AttributeError, match="pip install pandas"):
        _ = table.mean


def test_both_tables_agree() -> None:
    rows: list[dict[str, Any]] = [
        {"line_number": 0, "status": "Completed", "inputs": {"a": 1}, "outputs": {"x": None}},
        {"line_number": 1, "status": "NotStarted", "inputs": {"b": 2}, "outputs": {}},
    ]
    columns = columns_of(rows)
    assert Details(columns).to_dict("list").keys() == as_table(columns).to_dict("list").keys()
    assert columns["outputs.x"] == [None, None]
    assert len(Details(columns_of([]))) == 0


def test_a_run_over_a_run_and_the_list(client: Any, run: Any, place: Path) -> None:
    mapping = {"n": "${run.inputs.n}"}
    every = module("promptflow._sdk._constants").ListViewType.ALL
    again = client.run(flow=str(place / "flow"), run=run, column_mapping=mapping, name="second")
    assert (again.run, again.status) == ("first", "Completed")
    assert [each.name for each in client.runs.list(max_results=1)] == ["second"]
    assert client.runs.archive(again).name == "second"
    assert "second" not in [each.name for each in client.runs.list()]
    assert "second" in [each.name for each in client.runs.list(list_view_type=every)]
    client.runs.restore("second")
    client.runs.delete("second")
    with pytest.raises(NotFound):
        client.runs.get("second")


def test_stream_and_visualize(
    client: Any, run: Any, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert client.stream(run).name == "first"
    assert "seen 1" in (said := capsys.readouterr().out)
    assert 'Run status: "Completed"' in said
    client.visualize([run], html_path=place / "report.html")
    assert "report.html" in capsys.readouterr().out
    assert "<html" in (place / "report.html").read_text()


def test_what_is_wrong_is_caught_by_its_name(client: Any, run: Any, place: Path) -> None:
    errors, exceptions = module("promptflow._sdk._errors"), module("promptflow.exceptions")
    flow, data = place / "flow", place / "data.jsonl"
    with pytest.raises(errors.RunExistsError):
        client.run(flow=flow, data=data, name="first")
    with pytest.raises(exceptions.UserErrorException):
        client.runs.get("nothing")
    with pytest.raises(FileNotFoundError):
        client.run(flow=flow, data=place / "nothing.jsonl")
    with pytest.raises(NotSupported, match="flow save"):
        client.run(flow=len, data=data)
    with pytest.raises(errors.ConnectionNotFoundError):
        client.connections.get("nothing")


def test_a_flow_and_one_of_its_nodes(
    client: Any, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert client.test(place / "flow", inputs={"n": 4}) == {"half": 2.0}
    assert "seen 4" in capsys.readouterr().err
    assert client.test(place / "flow", node="halve", inputs={"n": 5}) == 2.5
    (place / "inputs.jsonl").write_text('{"n": 6}\n')
    assert client.test(place / "flow", inputs=place / "inputs.jsonl") == {"half": 3.0}
    with pytest.raises(ToolExecutionError, match="three"):
        client.test(place / "flow", inputs={"n": 3})


def test_connections_keep_their_secrets(client: Any) -> None:
    made = module("promptflow.entities").CustomConnection(
        name="mine", secrets={"key": "canary-62"}, configs={"a": "b"}
    )
    shown = client.connections.create_or_update(made)
    assert (shown.key, shown.a) == ("******", "b")
    shown.configs["a"] = "z"
    client.connections.create_or_update(shown)
    whole = client.connections.get("mine", with_secrets=True)
    assert (whole.key, whole.a) == ("canary-62", "z")
    assert "mine" in [each.name for each in client.connections.list()]
    client.connections.delete("mine")
    assert "mine" not in [each.name for each in client.connections.list()]


def test_a_flow_that_a_script_loads_finds_this_homes_connections(
    client: Any, tmp_path: Path
) -> None:
    from tests.client.flow_folders import ASKING, TOOL

    (tmp_path / "flow.dag.yaml").write_text(
        ASKING.replace('{question: "${inputs.question}"}', '{question: "Hi", connection: here}')
    )
    (tmp_path / "ask.py").write_text(TOOL)
    client.connections.create_or_update(
        module("promptflow.entities").CustomConnection(
            name="here", secrets={"key": "k", "endpoint": "e"}
        )
    )
    assert module("promptflow.client").load_flow(tmp_path)() == {"answer": "Hi -> e as k"}


SCRIPT = """
import sys
from helper import WORD
from promptflow.client import PFClient
print(WORD, sys.argv[1:], len(PFClient().runs.list()), __name__)
sys.exit(3)
"""


def test_a_script_runs_as_python_runs_it(home: Any, tmp_path: Path) -> None:
    (tmp_path / "evaluate.py").write_text(SCRIPT)
    (tmp_path / "helper.py").write_text("WORD = 'beside'\n")
    command = [sys.executable, "-m", "phoundry.promptflow", str(tmp_path / "evaluate.py"), "--x"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert (done.stdout, done.returncode) == ("beside ['--x'] 0 __main__\n", 3), done.stderr


def test_a_call_without_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["-m"]) == 2
    assert main(["nothing.py"]) == 2
    assert "nothing.py" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "PHOUNDRY_HOME" in capsys.readouterr().out
