"""`phoundry flow validate`, `check` and `set`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.client.flow_folders import asking_flow, echo_flow


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    return echo_flow(tmp_path / "flows" / "echo")


def test_a_sound_flow(shell: Shell, flow: Path) -> None:
    done = shell("flow", "validate", str(flow), "-o", "json")
    assert (done.code, done.json["valid"], done.json["verdict"]) == (0, True, "runs")
    assert "no fault" in shell("flow", "validate", str(flow)).err


def test_faults_have_their_places(shell: Shell, flow: Path) -> None:
    file = flow / "flow.dag.yaml"
    file.write_text(file.read_text().replace("${inputs.question}", "${inputs.qestion}"))
    done = shell("flow", "validate", str(flow), "-o", "json")
    assert done.code == 1
    [error] = done.json["errors"]
    assert (error["code"], error["file"]) == ("InputReferenceNotFound", "flow.dag.yaml")
    line = file.read_text().splitlines()[error["line"] - 1]
    assert line[error["column"] - 1 :].startswith('question: "${inputs.qestion}"')
    told = shell("flow", "validate", str(flow))
    assert f"flow.dag.yaml:{error['line']}:{error['column']}: error" in told.out
    assert "Did you mean question?" in told.out


def test_a_tree_of_flows(shell: Shell, flow: Path) -> None:
    """What this machine lacks needs attention; only a flow that can't run fails the check."""
    asking_flow(flow.parent / "asking")
    done = shell("flow", "check", str(flow.parent), "-o", "json")
    assert done.code == 0
    assert done.json["totals"] == {"runs": 1, "needs attention": 1, "cannot run": 0}
    assert shell("flow", "check", str(flow.parent), "--no-connections").code == 0
    (flow / "echo.py").unlink()
    table = shell("flow", "check", str(flow.parent))
    assert table.code == 1
    assert "cannot run" in table.out
    assert "2 flows: 0 run, 1 needs attention, 1 cannot run." in table.err


def test_connections_of_this_home_are_looked_for(shell: Shell, tmp_path: Path) -> None:
    wanting = asking_flow(tmp_path / "asking")
    first = shell("flow", "validate", str(wanting), "-o", "json")
    assert [item["code"] for item in first.json["errors"]] == ["GetConnectionError"]
    words = ["connection", "create", "one", "--set", "endpoint=http://x"]
    shell(*words, "--secret", "key", "--secret-stdin", stdin="secret-value\n")
    assert shell("flow", "validate", str(wanting)).code == 0


def test_no_flow(shell: Shell, tmp_path: Path) -> None:
    assert shell("flow", "validate", str(tmp_path / "nothing")).code == 1
    assert shell("flow", "check", str(tmp_path / "nothing")).code == 1
    assert "no flow here" in shell("flow", "check", str(tmp_path)).err
    assert shell("flow", "check").code == 2


def test_a_value_is_set(shell: Shell, flow: Path) -> None:
    file = flow / "flow.dag.yaml"
    file.write_text("# mine\n" + file.read_text())
    done = shell("flow", "set", str(flow), "inputs.question.default=Why?", "display_name=[1]")
    assert done.code == 0
    text = file.read_text()
    assert text.startswith("# mine\n")
    assert 'default: "Why?"' in text
    assert text.rstrip().endswith("display_name: [1]")
    assert shell("flow", "set", str(flow), "nodes.nobody.x=1").code == 1
    assert shell("flow", "set", str(flow), "novalue").code == 2
    assert file.read_text() == text
