"""Connections that a flow's files ask for by name, and endpoints that stand for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.errors import NotFound
from phoundry.flows.connections import needs_connections, resolved
from phoundry.flows.errors import GetConnectionError
from phoundry.flows.load import load_flow
from phoundry.flows.mentions import mentions
from phoundry.specs.connection import ConnectionValues
from tests.flows.conftest import Connections, MakeFlow, custom

TOOL = (
    "from promptflow.core import tool\nfrom promptflow.client import PFClient\n"
    "@tool\ndef t():\n    return PFClient().connections.get('mine').key\n"
)
DAG = "nodes:\n- name: n\n  type: python\n  source: {type: code, path: t.py}\n"


class WithEndpoints(Connections):
    """`faq` is no connection but an endpoint; asking for it gives what calls it."""

    def values(self, name: str) -> ConnectionValues:
        if name.removeprefix("endpoint:") == "faq":
            return custom("faq", {"api_base": "http://127.0.0.1:1/v1", "model": "faq"}, key="k")
        return super().values(name)


def dag(make_flow: MakeFlow, tool: str, **files: str) -> Path:
    return make_flow({"flow.dag.yaml": DAG, "t.py": tool, **files})


def test_what_python_asks_for(make_flow: MakeFlow) -> None:
    flow = load_flow(dag(make_flow, TOOL))
    assert mentions(flow).named == {"mine"}
    assert needs_connections(flow)
    found = resolved(flow, Connections(custom("mine", key="k"), custom("no", key="k")), {}, {})
    assert list(found.values) == ["mine"]


def test_a_tool_that_asks_for_nothing_brings_nothing(make_flow: MakeFlow) -> None:
    tool = "from promptflow.core import tool\n@tool\ndef t():\n    return 'mine'\n"
    flow = load_flow(dag(make_flow, tool))
    assert not needs_connections(flow)
    assert resolved(flow, Connections(custom("mine", key="k")), {}, {}).values == {}


def test_prompties_beside_the_code(make_flow: MakeFlow) -> None:
    tool = TOOL.replace("PFClient().connections.get('mine').key", "Prompty.load('p.prompty')")
    flow = load_flow(dag(make_flow, tool, **{"sub/p.prompty": '---\n  connection: "p-1"\n---\n'}))
    assert mentions(flow).named == {"p-1"}


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("configuration: {connection: mine, model: m}", {"mine"}),
        ('configuration: {"model": "m", "connection": "mine"}', {"mine"}),
        ("configuration:\n    connection: ${env:ITS_NAME}", {"other"}),
        ("configuration:\n    connection: ${env:NOT_SET}", set[str]()),
        ("configuration: {my_connection: mine}", set[str]()),
    ],
)
def test_names_as_yaml_and_variables_have_them(
    make_flow: MakeFlow, monkeypatch: pytest.MonkeyPatch, written: str, names: set[str]
) -> None:
    monkeypatch.setenv("ITS_NAME", "other")
    folder = make_flow({"a.prompty": f"---\nmodel:\n  {written}\n---\nuser:\nHi\n"})
    assert mentions(load_flow(folder / "a.prompty")).named == names


def test_a_name_that_nothing_has_is_said_when_the_code_asks(make_flow: MakeFlow) -> None:
    assert resolved(load_flow(dag(make_flow, TOOL)), Connections(), {}, {}).values == {}


def test_broken_and_binary_files_are_passed_over(make_flow: MakeFlow) -> None:
    folder = dag(make_flow, TOOL, **{"b.py": "def ("})
    (folder / "c.json").write_bytes(b"\xff\xfe\x00")
    assert mentions(load_flow(folder)).named == {"mine"}


LLM = (
    "nodes:\n- name: ask\n  type: llm\n  source: {type: code, path: p.jinja2}\n"
    "  inputs: {}\n  connection: NAME\n"
)


@pytest.mark.parametrize("name", ["faq", "endpoint:faq"])
def test_an_endpoint_by_its_name(make_flow: MakeFlow, name: str) -> None:
    path = make_flow({"flow.dag.yaml": LLM.replace("NAME", name), "p.jinja2": "user:\nhi\n"})
    found = resolved(load_flow(path), WithEndpoints(), {}, {})
    assert found.chosen == {"ask.connection": name}
    assert found.values[name]["secrets"] == {"key": "k"}
    given = resolved(load_flow(path), WithEndpoints(), {}, {"ask.connection": "endpoint:faq"})
    assert given.chosen == {"ask.connection": "endpoint:faq"}
    kept = make_flow({"flow.dag.yaml": LLM.replace("NAME", "''"), "p.jinja2": "user:\n"}, "two")
    again = resolved(load_flow(kept), WithEndpoints(), {"ask.connection": name}, {})
    assert again.chosen == {"ask.connection": name}


def test_neither_a_connection_nor_an_endpoint(make_flow: MakeFlow) -> None:
    path = make_flow({"flow.dag.yaml": LLM.replace("NAME", "fag"), "p.jinja2": "user:\nhi\n"})
    with pytest.raises(NotFound, match=r"no connection 'fag'.*--connections ask\.connection=NAME"):
        resolved(load_flow(path), WithEndpoints(), {}, {})


def test_values_from_the_environment(make_flow: MakeFlow, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_flow({"flow.dag.yaml": LLM.replace("NAME", "c"), "p.jinja2": "user:\nhi\n"})
    connection = custom("c", {"api_base": "${env:C_BASE}", "model": "m"}, key="${env:C_KEY}")
    with pytest.raises(GetConnectionError, match="C_BASE, C_KEY"):
        resolved(load_flow(path), Connections(connection), {}, {})
    monkeypatch.setenv("C_BASE", "http://b")
    monkeypatch.setenv("C_KEY", "k-canary")
    values = resolved(load_flow(path), Connections(connection), {}, {}).values["c"]
    assert values["configs"] == {"api_base": "http://b", "model": "m"}
    assert values["secrets"] == {"key": "k-canary"}
