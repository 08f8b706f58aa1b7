"""Flows as functions: called, awaited, side by side, with connections from a dictionary."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import InvalidInput, NotFound
from phoundry.flows import FlowError, FlowFunction, load_flow
from phoundry.flows.library import Plain
from tests.flows.conftest import Endpoint, MakeFlow
from tests.flows.test_session import YAML, one_tool

BODY = "if q == 'bad': raise ValueError(q)\nreturn [q, os.getcwd()]"
TAKES = "q, c: CustomConnection"
IMPORT = "from promptflow.connections import CustomConnection"
FORBIDDEN = """\
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition('.')[0] in {names!r}:
            raise AssertionError(f'imported {{name}}')
sys.meta_path.insert(0, Refuse())
from phoundry.flows import load_flow
flow = load_flow(sys.argv[1])
assert flow(q='x')['o'][0] == 'x'
import asyncio
assert asyncio.run(flow.acall(q='y'))['o'][0] == 'y'
assert flow.using({{'unused': {{'key': 'k'}}}})(q='z')['o'][0] == 'z'
"""
HEAVY = (
    "torch transformers mlflow sqlalchemy sqlite3 alembic fastapi uvicorn starlette typer xllamacpp"
)


def test_called_and_awaited(make_flow: MakeFlow) -> None:
    folder = one_tool(make_flow, BODY)
    before = (os.getcwd(), list(sys.path), dict(os.environ))  # noqa: PTH109
    flow = load_flow(folder)
    assert flow(q="x") == {"o": ["x", str(folder)]}
    assert asyncio.run(flow.acall(q="y")) == {"o": ["y", str(folder)]}
    with pytest.raises(FlowError, match=r"\(ValueError\) bad"):
        flow(q="bad")
    with pytest.raises(FlowError, match=r"\(ValueError\) bad"):
        asyncio.run(flow.acall(q="bad"))
    assert (os.getcwd(), list(sys.path), dict(os.environ)) == before  # noqa: PTH109


def test_nothing_of_the_rest_is_imported(make_flow: MakeFlow) -> None:
    """Neither torch nor a database, nor the server; refused, not only unused."""
    program = FORBIDDEN.format(names=set(HEAVY.split()))
    done = subprocess.run(
        [sys.executable, "-c", program, str(one_tool(make_flow, BODY))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_runs_overlap_and_other_flows_wait(make_flow: MakeFlow) -> None:
    """Two runs of a flow meet at a barrier; runs of another one keep their own folder."""
    meet = "import builtins\nbuiltins.phx_meet.wait(20)\nreturn [q, os.getcwd()]"
    first = load_flow(one_tool(make_flow, meet))
    files = {"flow.dag.yaml": YAML, "t.py": (first.root / "t.py").read_text().replace(
        "builtins.phx_meet.wait(20)", "pass")}  # fmt: skip
    second = load_flow(make_flow(files, "second"))
    home = Path.cwd()
    import builtins

    builtins.phx_meet = threading.Barrier(4)  # type: ignore[attr-defined]
    try:
        with ThreadPoolExecutor(12) as pool:
            runs = [pool.submit(first, q=str(n)) for n in range(8)]
            runs += [pool.submit(second, q=str(n)) for n in range(8)]
            found = [run.result(timeout=60)["o"] for run in runs]
    finally:
        del builtins.phx_meet  # type: ignore[attr-defined]
    assert found[:8] == [[str(n), str(first.root)] for n in range(8)]
    assert found[8:] == [[str(n), str(second.root)] for n in range(8)]
    assert Path.cwd() == home


def test_many_are_awaited_at_once(make_flow: MakeFlow) -> None:
    ask = load_flow(one_tool(make_flow, BODY)).using({})
    assert isinstance(ask, FlowFunction)

    async def many() -> list[Any]:
        return await asyncio.gather(*(ask.acall(q=str(n)) for n in range(20)))

    assert [each["o"][0] for each in asyncio.run(many())] == [str(n) for n in range(20)]


def test_tools_are_imported_once(make_flow: MakeFlow) -> None:
    body = "global count\ncount += 1\nreturn count"
    flow = load_flow(one_tool(make_flow, body, before="count = 0"))
    ask = flow.using({})
    assert [ask()["o"], ask()["o"], flow()["o"], flow()["o"]] == [1, 2, 1, 1]


def test_a_flow_calls_a_flow_within(make_flow: MakeFlow) -> None:
    inner = one_tool(make_flow, "return os.getcwd()")
    tool = (
        "import os\nfrom promptflow import tool\nfrom phoundry.flows import load_flow\n"
        f"@tool\ndef t(q):\n    return [load_flow({str(inner)!r})()['o'], os.getcwd()]\n"
    )
    outer = make_flow({"flow.dag.yaml": YAML, "t.py": tool}, "outer")
    assert load_flow(outer)() == {"o": [str(inner), str(outer)]}


def test_connections_are_plain_dictionaries(
    make_flow: MakeFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = one_tool(make_flow, "return [c.api_base, c.key]", before=IMPORT, takes=TAKES)
    monkeypatch.setenv("FAQ_KEY", "from-the-environment")
    flow = load_flow(folder)
    ask = flow.using({"faq": {"api_base": "http://a/v1", "key": "${env:FAQ_KEY}"}})
    assert ask() == {"o": ["http://a/v1", "from-the-environment"]}
    two = {
        "a": {"configs": {"api_base": "A"}, "secrets": {"key": "1"}},
        "b": {"type": "CustomConnection", "api_base": "B", "key": 2},
    }
    assert flow.using(two, {"n.c": "b"})() == {"o": ["B", "2"]}
    with pytest.raises(NotFound, match="'c'"):
        flow.using(two, {"n.c": "c"})
    monkeypatch.delenv("FAQ_KEY")
    with pytest.raises(FlowError, match="FAQ_KEY"):
        flow.using({"faq": {"api_base": "x", "key": "${env:FAQ_KEY}"}})()


def test_what_is_secret_is_never_listed() -> None:
    found = Plain({"a": {"api_base": "A", "api_key": "hidden", "my_token": "hidden"}})
    (shown,) = found.list()
    assert "hidden" not in str(shown)
    assert found.values("a").secrets == {"api_key": "hidden", "my_token": "hidden"}
    openai = Plain({"o": {"type": "open_ai", "api_key": "k", "base_url": "u"}}).values("o")
    assert (openai.type, openai.configs, openai.secrets) == (
        "open_ai",
        {"base_url": "u"},
        {"api_key": "k"},
    )
    with pytest.raises((InvalidInput, ValueError), match="api_key"):
        Plain({"o": {"type": "open_ai"}}).values("o")


def test_a_model_is_asked_with_a_plain_connection(make_flow: MakeFlow, endpoint: Endpoint) -> None:
    endpoint.reply = lambda body: (200, {"choices": [{"message": {"content": "Hello."}}]})
    yaml = """\
inputs:
  q: {type: string, default: hi}
outputs:
  o: {type: string, reference: "${ask.output}"}
nodes:
- name: ask
  type: llm
  source: {type: code, path: p.jinja2}
  inputs: {q: "${inputs.q}", model: m}
  connection: mine
  api: chat
"""
    flow = load_flow(make_flow({"flow.dag.yaml": yaml, "p.jinja2": "user:\n{{q}}\n"}))
    values = {"type": "open_ai", "api_key": "k", "base_url": f"{endpoint.url}/v1"}
    assert flow.using({"mine": values})(q="Hi") == {"o": "Hello."}
    assert endpoint.requests[0]["headers"]["Authorization"] == "Bearer k"
