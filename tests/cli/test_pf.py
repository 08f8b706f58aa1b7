"""Prompt flow's own command lines. What is compared was observed with promptflow 1.18.5."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phoundry.cli.pf.grammar import NOUNS, parse
from phoundry.errors import UsageError
from tests.cli.conftest import Shell
from tests.client.flow_folders import echo_flow


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    return echo_flow(tmp_path / "echo")


@pytest.fixture
def pf(shell: Shell) -> Shell:
    return lambda *words, **more: shell("pf", *words, **more)


# The options that `pf NOUN VERB --help` lists, but for --help, --verbose and --debug.
OBSERVED = {
    "flow init": "--type -y --yes --assume-yes --flow --entry --function --prompt-template",
    "flow save": "--entry --code --path",
    "flow test": "--flow --node --variant --interactive --inputs --environment-variables --ui "
    "--collection --init",
    "flow validate": "--source",
    "flow serve": "--source --port --host --engine --environment-variables --skip-open-browser "
    "--init",
    "flow build": "--source --output -o --format -f --variant -v",
    "run create": "-f --file -s --stream --flow --variant --run -n --name --column-mapping "
    "--environment-variables --connections --set --resume-from --init --data --source",
    "run update": "-n --name --set",
    "run stream": "-n --name",
    "run list": "-r --max-results --all-results --archived-only --include-archived -o --output",
    "run show": "-n --name",
    "run show-details": "-r --max-results -n --name --all-results",
    "run show-metrics": "-n --name",
    "run visualize": "-n --names",
    "run archive": "-n --name",
    "run restore": "-n --name",
    "run delete": "-n --name -y --yes --assume-yes",
    "connection create": "--set --file -f --name -n",
    "connection update": "--set --name -n",
    "connection list": "-r --max-results --all-results",
    "connection show": "--name -n",
    "connection delete": "--name -n -y --yes --assume-yes",
    "config set": "--path",
    "config show": "",
    "upgrade": "-y --yes --assume-yes",
}


@pytest.mark.parametrize("command", list(OBSERVED))
def test_every_option_is_known(command: str) -> None:
    noun, _, verb = command.partition(" ")
    known = {flag for option in NOUNS[noun][verb].options for flag in option.flags}
    assert set(OBSERVED[command].split()) <= known


def test_words_as_scripts_write_them() -> None:
    call = parse(
        [
            *("flow", "test", "--flow", "f", "--input", "a=1", "b=x y", "--inputs", "c=${d.e}"),
            *("--environment-variables", "K=V", "--node", "n", "-d"),
        ]
    )
    assert call.values["inputs"] == ["a=1", "b=x y", "c=${d.e}"]
    assert (call.values["node"], call.values["environment_variables"]) == ("n", ["K=V"])
    mapped = parse(
        ["run", "create", "--flow", "f", "--data", "d", "--column-mapping", "a='${data.b}'", "c=1"]
    )
    assert mapped.values["column_mapping"] == ["a='${data.b}'", "c=1"]


@pytest.mark.parametrize(
    "words",
    [
        *([], ["nonsense"], ["flow"], ["flow", "test"], ["flow", "test", "--flow", "f", "--bad"]),
        *(
            ["run", "list", "-r", "x"],
            ["run", "list", "-r", "-5"],
            ["connection", "list", "-r", "0"],
        ),
        ["flow", "serve", "--source", "f", "--port", "abc"],
    ],
)
def test_wrong_words_exit_with_2(pf: Shell, words: list[str]) -> None:
    done = pf(*words)
    assert (done.code, done.out) == (2, "")
    with pytest.raises(UsageError):
        parse(words)


def test_runs_to_visualize_are_named(pf: Shell) -> None:
    assert pf("run", "visualize", "-n", ",").code == 2


def test_help_and_version(pf: Shell) -> None:
    assert pf("flow", "test", "--help").code == 0
    assert "phoundry" in pf("--version").json
    assert "phoundry" in pf("-v").json


def test_flow_test(pf: Shell, flow: Path) -> None:
    done = pf("flow", "test", "--flow", str(flow), "--inputs", "question=Hi")
    assert (done.code, done.out) == (0, '{\n    "answer": "0: Hi"\n}\n')
    alone = pf("flow", "test", "--flow", str(flow), "--node", "echo", "--inputs", "question=Hi")
    assert (alone.code, alone.out) == (0, "0: Hi\n")
    failed = pf("flow", "test", "--flow", str(flow), "--inputs", "question=fail")
    assert (failed.code, failed.out) == (1, "")
    assert "pf.flow.test failed with ToolExecutionError" in failed.err
    assert pf("flow", "test", "--flow", str(flow / "nothing")).code == 1


def test_flow_validate(pf: Shell, flow: Path) -> None:
    assert pf("flow", "validate", "--source", str(flow)).json == {"result": "Succeeded"}
    (flow / "echo.py").unlink()
    broken = pf("flow", "validate", "--source", str(flow))
    assert (broken.code, broken.json["result"]) == (1, "Failed")


def test_init_and_save(pf: Shell, tmp_path: Path) -> None:
    for kind in ("standard", "chat", "evaluation"):
        done = pf("flow", "init", "--flow", str(tmp_path / kind), "--type", kind)
        assert f"Created {kind} flow folder" in done.out
        checked = pf("flow", "validate", "--source", str(tmp_path / kind))
        assert checked.json == {"result": "Succeeded"}
    code = tmp_path / "code"
    code.mkdir()
    (code / "intent.py").write_text("def extract(text: str):\n    return text.upper()\n")
    words = ["--entry", "intent:extract", "--code", str(code), "--path", str(tmp_path / "flex")]
    assert pf("flow", "save", *words).code == 0
    assert "entry: intent:extract" in (tmp_path / "flex" / "flow.flex.yaml").read_text()
    assert not (code / "flow.flex.yaml").exists()
    again = pf("flow", "test", "--flow", str(tmp_path / "flex"), "--inputs", "text=hi")
    assert "HI" in again.out


def test_a_run_and_what_is_told_of_it(pf: Shell, flow: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"q": "a"}\n{"q": "fail"}\n')
    mapping = ["--column-mapping", "question=${data.q}"]
    create = ["run", "create", "--flow", str(flow), "--data", str(data), *mapping, "--name", "r1"]
    made = pf(*create)
    assert made.code == 1  # a line failed; Prompt flow said nothing of it
    assert made.json["name"] == "r1"
    assert made.json["properties"]["flow_path"] == str(flow)
    assert made.json["properties"]["column_mapping"] == {"question": "${data.q}"}
    assert pf("run", "show", "--name", "r1").json == made.json
    assert pf("run", "list").json == [made.json]
    details = pf("run", "show-details", "-n", "r1").out
    for text in ("inputs.question", "inputs.line_number", "outputs.answer", "0: a"):
        assert text in details
    assert pf("run", "show-metrics", "-n", "r1").json == {}
    renamed = pf("run", "update", "-n", "r1", "--set", "display_name=Mine", "tags.a=b")
    assert (renamed.json["display_name"], renamed.json["tags"]) == ("Mine", {"a": "b"})
    assert pf("run", "archive", "-n", "r1").code == 0
    assert pf("run", "list").json == []
    assert pf("run", "restore", "-n", "r1").code == 0
    assert "Run Summary" in pf("run", "stream", "-n", "r1").out
    assert "HTML file" in pf("run", "visualize", "-n", "r1").out
    assert pf("run", "delete", "-n", "r1", "-y").code == 0
    assert pf("run", "show", "-n", "r1").code == 1


def test_connections(pf: Shell, tmp_path: Path) -> None:
    file = tmp_path / "connection.yaml"
    file.write_text(
        "name: mine\ntype: custom\nconfigs: {endpoint: http://x}\nsecrets: {key: <user-input>}\n"
    )
    made = pf("connection", "create", "--file", str(file), "--set", "secrets.key=canary-1")
    shown = {"configs": {"endpoint": "http://x"}, "secrets": {"key": "******"}}
    assert made.json | shown == made.json
    assert "canary-1" not in made.out + made.err
    assert "on the command line" in made.err
    changed = pf("connection", "update", "-n", "mine", "--set", "configs.endpoint=http://y")
    assert changed.json["configs"] == {"endpoint": "http://y"}
    env = tmp_path / ".env"
    env.write_text("# a\nA_KEY='1'\nexport B=two\n")
    secrets = pf("connection", "create", "-f", str(env), "--name", "envy").json["secrets"]
    assert secrets == {"A_KEY": "******", "B": "******"}
    strong = tmp_path / "oai.yaml"
    strong.write_text("name: oai\ntype: open_ai\napi_key: <user-input>\n")
    top = pf("connection", "create", "-f", str(strong), "--set", "api_key=canary-2")
    assert (top.json["type"], top.json["api_key"]) == ("open_ai", "******")
    assert [item["name"] for item in pf("connection", "list").json] == ["envy", "mine", "oai"]
    assert pf("connection", "delete", "-n", "mine", "-y").code == 0
    assert pf("connection", "show", "-n", "mine").code == 1


def test_files_of_variables_that_are_no_text(pf: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.env").write_bytes(b"\xff=1\n")
    done = pf("connection", "create", "-f", str(tmp_path / "a.env"), "--name", "c")
    assert (done.code, "not UTF-8" in done.err) == (1, True)


def test_options_that_a_chat_does_not_take_are_told(
    pf: Shell, flow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phoundry.cli.chat.chat", lambda *_, **__: None)
    done = pf("flow", "test", "--flow", str(flow), "--interactive", "--variant", "${a.b}")
    assert (done.code, "--variant is taken without effect" in done.err) == (0, True)


def test_what_means_nothing_here_is_told(pf: Shell, flow: Path) -> None:
    done = pf("config", "set", "telemetry.enabled=false")
    assert done.code == 0
    assert "no telemetry" in done.err
    assert pf("config", "show").json == {"telemetry": {"enabled": "false"}}
    assert pf("service", "start").code == 0
    assert pf("upgrade", "--yes").code == 0
    refused = pf("tool", "init", "--tool", "x")
    assert refused.code == 2
    executable = ["--source", str(flow), "--output", "dist", "--format", "executable"]
    assert "--format docker" in pf("flow", "build", *executable).err
    listed = pf("tool", "list", "--flow", str(flow))
    assert json.loads(listed.out)["code"]["echo.py"]["type"] == "python"
