"""`run create --source`: runs of Prompt flow's, by both command lines."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Shell
from tests.flows.batch.test_taken_in import MESSAGE, written


def test_both_command_lines_keep_a_run(shell: Shell, tmp_path: Path) -> None:
    source = str(written(tmp_path))
    done = shell("pf", "run", "create", "--source", source)
    assert (done.code, done.json["name"], done.json["display_name"]) == (0, "src1", "Src")
    rows = shell("run", "show-details", "src1", "-o", "json").json
    assert [row["status"] for row in rows] == ["Completed", "Completed", "Failed"]
    assert rows[2]["error"]["message"] == MESSAGE
    assert shell("pf", "run", "show-metrics", "--name", "src1").json == {"mean": 0.75}
    words = ("--name", "again", "--set", "tags.x=y", "display_name=Again", "-o", "json")
    again = shell("run", "create", "--source", source, *words)
    assert (again.code, again.json["tags"]) == (0, {"a": "b", "x": "y"})
    assert {run["name"] for run in shell("run", "list", "-o", "json").json} == {"src1", "again"}
    retried = shell("run", "retry", "again")
    assert retried.code == 1
    assert "made by Prompt flow" in retried.err


def test_what_is_wrong_with_the_call(shell: Shell, tmp_path: Path) -> None:
    source = str(written(tmp_path))
    both = shell("run", "create", "--source", source, "--flow", "f", "--data", "d")
    assert both.code == 2
    assert "--flow, --data" in both.err
    assert shell("pf", "run", "create", "--source", source, "--data", "d").code == 2
    assert shell("run", "create", "--source", source, "--set", "status=x").code == 2
    assert shell("run", "list", "-o", "json").json == []
    missing = shell("run", "create", "--source", str(tmp_path / "nothing"))
    assert missing.code == 1
    assert "~/.promptflow/.runs" in missing.err
