"""The short way of `phoundry flow test`: the same bytes, and nothing else differs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from phoundry.cli import main
from phoundry.cli.app import main as whole
from phoundry.cli.quick import quick
from phoundry.settings import Home
from phoundry.traces.store import TraceStore
from tests.flows.conftest import MakeFlow, make_flow
from tests.flows.test_session import YAML, one_tool

__all__ = ["make_flow"]

BODY = """\
if q == 'raise': raise ValueError('bad \\x9b é')
if q == 'die': os._exit(7)
print('printed')
heavy = {'typer', 'pydantic', 'httpx', 'jinja2', 'asyncio', 'difflib', 'email'}
return [q, sorted(heavy & set(sys.modules)), os.getpid() != int(os.environ.get('ME', 0))]
"""


def test_both_ways_print_the_same(
    home: Home, make_flow: MakeFlow, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = one_tool(make_flow, BODY)
    (folder.parent / "in.json").write_text('{"q": "é\\u009b"}')
    (folder.parent / "none.json").write_text("{}")
    (folder.parent / "bad.json").write_text("{")
    broken = make_flow({"flow.dag.yaml": YAML, "t.py": "import nothing_here\n"}, "broken")
    calls = [
        ([str(folder)], 0, True),
        ([str(folder / "flow.dag.yaml"), "--inputs", "q=a=b", "q=c"], 0, True),
        ([str(folder), "--inputs", str(folder.parent / "in.json")], 0, True),
        (["--inputs", str(folder.parent / "none.json"), str(folder)], 0, True),
        (["--inputs", "q=raise", str(folder)], 1, True),
        ([str(folder), "--inputs", "q=die"], 1, True),
        ([str(folder), "--inputs", "wrong"], 2, False),
        ([str(folder), "--inputs", str(folder.parent / "bad.json")], 1, False),
        ([str(folder), "--nonsense"], 2, False),
        ([str(folder.parent / "nowhere")], 1, False),
        ([str(broken)], 1, False),
    ]
    for words, code, short in calls:
        call = ["flow", "test", *words, "-o", "json"]
        assert whole(call) == code, call
        long = json.loads(capsys.readouterr().out)
        assert (quick(call[2:]) is not None) == short, call
        capsys.readouterr()
        assert main(call) == code, call
        printed = capsys.readouterr()
        found = json.loads(printed.out)
        assert "\x9b" not in printed.out
        for error in (found["error"], long["error"]):
            if error is not None and "additionalInfo" in error:
                error.pop("additionalInfo")  # has a traceback's addresses of objects
        assert found == long, call


def test_both_ways_tell_people_the_same(
    home: Home, make_flow: MakeFlow, capsys: pytest.CaptureFixture[str]
) -> None:
    body = (
        "print('printed \\x1b[2J é\\r', file=sys.stderr)\n"
        "if q == 'raise': raise ValueError('bad \\x9b é')\n"
        "if q == 'die': os._exit(7)\n"
        "return {'list': [1, None, 'é'], 'at': '2026-01-02T03:04:05+00:00', 'q': q, 'n': 12345.678}"
    )
    folder = one_tool(make_flow, body)
    for words, code in (([], 0), (["--inputs", "q=a\tb"], 0), (["--inputs", "q=raise"], 1)):
        call = ["flow", "test", str(folder), *words]
        assert whole(call) == code
        long = capsys.readouterr()
        assert quick(call[2:]) == code
        short = capsys.readouterr()
        assert (short.out, short.err) == (long.out, long.err)
        assert "printed ␛[2J é" in short.err
        assert "\x9b" not in short.err
    assert quick([str(folder), "--inputs", "q=die"]) == 1
    told = capsys.readouterr().err
    assert "exit code 7" in told
    assert "The last it printed" in told


@pytest.mark.parametrize("options", [["-o", "json"], []])
def test_nothing_heavy_is_imported(home: Home, make_flow: MakeFlow, options: list[str]) -> None:
    folder = one_tool(make_flow, BODY)
    program = (
        "import os, sys\nos.environ['ME'] = str(os.getpid())\n"
        "from phoundry.cli import main\n"
        "assert main(['flow', 'test', *sys.argv[1:]]) == 0\n"
        "heavy = {'typer', 'pydantic', 'httpx', 'jinja2', 'asyncio', 'ruamel', 'logging'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if options:
        assert json.loads(done.stdout)["output"] == {"o": ["hi", [], True]}
    else:
        assert (done.stdout, done.stderr) == ("o  hi\n   []\n   yes\n", "printed\nCompleted  n\n")
    (trace,) = TraceStore(home.traces).list()
    assert trace.flow == str(folder)


@pytest.mark.parametrize("option", ["--variant ${n.a}", "--node n", "-o yaml", "--help"])
def test_other_calls_are_left_to_the_long_way(option: str, make_flow: MakeFlow) -> None:
    words = [str(one_tool(make_flow, BODY)), *option.split()]
    assert quick(words) is None
    assert quick([*words, "-o", "json"]) is None


def test_a_variable_for_an_option_is_obeyed(
    make_flow: MakeFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOUNDRY_FLOW_TEST_TIMEOUT", "3")
    assert quick([str(one_tool(make_flow, BODY)), "-o", "json"]) is None


CONNECTION = "from promptflow.connections import CustomConnection"


def _needs_more(make_flow: MakeFlow, kind: str) -> Path:
    if kind == "connection":
        return one_tool(make_flow, "return q", before=CONNECTION, takes="q, c: CustomConnection")
    folder = one_tool(
        make_flow,
        "from promptflow.client import PFClient\nreturn q" if kind == "asks" else "return q",
    )
    if kind == "requirements":
        (folder / "requirements.txt").write_text("some-package\n")
    if kind == "variable":
        text = (folder / "flow.dag.yaml").read_text()
        (folder / "flow.dag.yaml").write_text(f'{text}environment_variables: {{K: "${{c.key}}"}}\n')
    if kind == "flex":
        (folder / "flow.dag.yaml").unlink()
        (folder / "flow.flex.yaml").write_text("entry: t:t\n")
    if kind == "faulty":
        (folder / "flow.dag.yaml").write_text("inputs: [\n")
    return folder


@pytest.mark.parametrize(
    "kind", ["connection", "asks", "requirements", "variable", "flex", "faulty"]
)
def test_a_flow_that_needs_more_is_declined_and_has_not_run(make_flow: MakeFlow, kind: str) -> None:
    folder = _needs_more(make_flow, kind)
    (folder / "t.py").write_text(f"open('ran', 'w')\n{(folder / 't.py').read_text()}")
    assert quick([str(folder), "-o", "json"]) is None
    assert not (folder / "ran").exists()
