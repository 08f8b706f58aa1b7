"""`phoundry run`: batches from the command line, with real sessions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from phoundry.cli.flow_run_options import spec_of
from phoundry.errors import InvalidInput, UsageError
from phoundry.settings import Home
from tests.cli.conftest import Shell

YAML = """
inputs:
  n: {type: int}
outputs:
  double: {type: int, reference: "${double.output}"}
nodes:
- name: double
  type: python
  source: {type: code, path: double.py}
  inputs: {n: "${inputs.n}"}
- name: total
  type: python
  aggregation: true
  source: {type: code, path: total.py}
  inputs: {doubles: "${double.output}"}
"""
DOUBLE = """
import os
from promptflow.core import tool
@tool
def double(n: int):
    if n == 2 and os.environ.get("FAIL", "yes") == "yes":
        raise ValueError("two is refused")
    print("doubling", n)
    return n * 2
"""
TOTAL = """
from promptflow.core import log_metric, tool
@tool
def total(doubles: list):
    log_metric("total", sum(doubles))
"""
JUDGE = """
inputs:
  answer: {type: int}
  truth: {type: int}
outputs:
  right: {type: bool, reference: "${judge.output}"}
nodes:
- name: judge
  type: python
  source: {type: code, path: judge.py}
  inputs: {answer: "${inputs.answer}", truth: "${inputs.truth}"}
"""


def folder(path: Path, **files: str) -> Path:
    path.mkdir()
    for name, text in files.items():
        suffix = ".dag.yaml" if name == "flow" else ".py"
        (path / f"{name}{suffix}").write_text(text)
    return path


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    return folder(tmp_path / "doubling", flow=YAML, double=DOUBLE, total=TOTAL)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    path.write_text("n,truth\n" + "".join(f"{n},{n * 2}\n" for n in range(4)))
    return path


def test_a_run_from_its_making_to_its_end(
    shell: Shell, flow: Path, data: Path, home: Home, tmp_path: Path
) -> None:
    made = shell("run", "create", "--flow", str(flow), "--data", str(data), "--name", "one")
    assert made.code == 1  # a line failed, and the shell hears of it
    assert "3/4, 1 failed" in made.out
    assert "1× Execution failure in 'double': (ValueError) two is refused (line 2)" in made.err
    shown = shell("run", "show", "one", "-o", "json").json
    assert (shown["status"], shown["metrics"]) == ("Completed", {"total": 8})
    rows = shell("run", "show-details", "one", "-o", "json").json
    assert [row["outputs"].get("double") for row in rows] == [0, 2, None, 6]
    assert rows[2]["error"]["codes"] == ["UserError", "ToolExecutionError"]
    failed = shell("run", "show-details", "one", "--failed")
    assert "two is refused" in failed.out
    assert "doubling 3" in (home.runs / "one" / "logs.txt").read_text()

    fixed = [*("--environment-variables", "FAIL=no"), *("--resume-from", "one", "-n", "two")]
    again = shell("run", "create", "--flow", str(flow), *fixed, "-o", "json")
    assert (again.code, again.err) == (0, "")
    assert again.json["lines"] == {"total": 4, "completed": 4, "failed": 0}
    assert again.json["environment_variables"] == ["FAIL"]
    assert shell("run", "show-metrics", "two", "-o", "json").json == {"total": 12}

    judge = "from promptflow.core import tool\n@tool\ndef judge(answer: int, truth: int):\n"
    judging = folder(tmp_path / "judge", flow=JUDGE, judge=judge + "    return answer == truth\n")
    words = ["answer=${run.outputs.double}", "truth=${run.inputs.truth}"]
    judged = shell(
        *("run", "create", "--flow", str(judging), "--run", "one", "-n", "judged"),
        *("--column-mapping", *words, "-o", "json"),
    )
    assert judged.json["lines"]["total"] == 3  # the failed line has no output to judge
    lines = (home.runs / "judged" / "outputs.jsonl").read_text().splitlines()
    assert [json.loads(line)["line_number"] for line in lines] == [0, 1, 3]
    assert all(json.loads(line)["right"] for line in lines)

    compared = shell("run", "compare", "one", "two").out
    assert "total (change)" in compared
    assert "+4" in compared
    report = shell("run", "visualize", "one", "two", "--to", str(tmp_path / "r.html"))
    assert report.out.strip() == str(tmp_path / "r.html")
    assert "two is refused" in (tmp_path / "r.html").read_text()

    shell("run", "update", "one", "--set", "display_name=First", "tags.kind=base")
    shell("run", "archive", "one")
    assert [row["name"] for row in shell("run", "list", "-o", "json").json] == ["judged", "two"]
    (archived,) = shell("run", "list", "--archived-only", "-o", "json").json
    assert (archived["display_name"], archived["tags"]) == ("First", {"kind": "base"})
    shell("run", "restore", "one")
    assert shell("run", "delete", "one").code == 2  # nobody can be asked
    assert shell("run", "delete", "one", "-y").code == 0
    assert not (home.runs / "one").exists()


def test_a_killed_run_goes_on_without_doing_anything_twice(
    shell: Shell, home: Home, tmp_path: Path
) -> None:
    ran, go_on = tmp_path / "ran.txt", tmp_path / "go-on"
    slow = f"""
import os
import time
from promptflow.core import tool
@tool
def double(n: int):
    with open({str(ran)!r}, "a") as file:
        file.write(f"{{n}}\\n")
    time.sleep(0.05)
    while n == 40 and not os.path.exists({str(go_on)!r}):
        time.sleep(0.05)  # however late the kill comes, it comes before the end
    return n
"""
    yaml = YAML.partition("- name: total")[0]
    flow = folder(tmp_path / "slow", flow=yaml, double=slow)
    data = tmp_path / "d.jsonl"
    data.write_text("".join(json.dumps({"n": n}) + "\n" for n in range(60)))
    command = [sys.executable, "-m", "phoundry", "run", "create", "--flow", str(flow)]
    process = subprocess.Popen(
        [*command, "--data", str(data), "-n", "cut", "--workers", "1"],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    journal = home.runs / "cut" / "lines.jsonl"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = [json.loads(line)["line_number"] for line in journal.read_text().splitlines()]
    assert 0 < len(kept) < 60
    assert shell("run", "show", "cut", "-o", "json").json["status"] == "Canceled"
    before = len(ran.read_text().splitlines())
    go_on.touch()
    done = shell("run", "resume", "cut", "--workers", "4", "-o", "json")
    assert done.json["lines"] == {"total": 60, "completed": 60, "failed": 0}
    later = [int(text) for text in ran.read_text().splitlines()[before:]]
    assert set(later).isdisjoint(kept)
    outputs = (home.runs / "cut" / "outputs.jsonl").read_text().splitlines()
    assert [json.loads(line)["double"] for line in outputs] == list(range(60))


def test_what_is_wrong_before_a_line_runs(shell: Shell, flow: Path, data: Path) -> None:
    words = ["run", "create", "--flow", str(flow), "-o", "json"]
    assert shell(*words).code == 2
    wrong = shell(*words, "--data", str(data), "--column-mapping", "n=${data.m}")
    assert wrong.code == 1
    assert wrong.error["codes"][-1] == "ApplyInputMappingError"
    assert "${data.n}" in wrong.error["remedy"]
    gone = shell(*words, "--data", "gone.jsonl")
    assert (gone.code, gone.error["code"]) == (1, "NotFound")
    (flow / "double.py").write_text("def nothing(): pass")
    assert shell(*words, "--data", str(data)).error["codes"][-1] == "NoToolDefined"
    assert shell("run", "list", "-o", "json").json == []


def test_a_run_of_prompt_flows_yaml(tmp_path: Path, flow: Path) -> None:
    file = tmp_path / "run.yaml"
    (tmp_path / "d.jsonl").write_text('{"n": 1}\n')
    file.write_text(
        "$schema: https://azuremlschemas.azureedge.net/promptflow/latest/Run.schema.json\n"
        "flow: doubling\ndata: d.jsonl\nvariant: ${double.v1}\n"
        "column_mapping:\n  n: ${data.n}\n"
        "connections:\n  ask:\n    connection: faq\n    deployment_name: gpt\n"
        "environment_variables:\n  A: 1\n"
    )
    given: dict[str, Any] = {"column_mapping": ["m=${data.m},k=2"], "name": "mine"}
    spec = spec_of(file, given, ["tags.a=b"])
    assert (Path(spec.flow), Path(spec.data or "")) == (flow, tmp_path / "d.jsonl")
    assert spec.column_mapping == {"n": "${data.n}", "m": "${data.m}", "k": "2"}
    assert spec.connections == {"ask.connection": "faq", "ask.deployment_name": "gpt"}
    assert (spec.name, spec.tags, spec.environment_variables) == ("mine", {"a": "b"}, {"A": 1})
    file.write_text("flow: doubling\ndata: d.jsonl\ncolumn_maping: {}\n")
    with pytest.raises(InvalidInput, match=r"run\.yaml:3"):
        spec_of(file, {}, None)
    with pytest.raises(UsageError, match="No flow is named"):
        spec_of(None, {"data": "d.jsonl"}, None)
