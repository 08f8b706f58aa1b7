"""The added keys of a node as they are read, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.flows import load_flow
from phoundry.flows.errors import FlowError
from phoundry.flows.extensions.keys import (
    Cache,
    Comparison,
    Foreach,
    Group,
    OnError,
    Retry,
)
from phoundry.flows.extensions.model import NONE, Extensions
from phoundry.flows.reference import InputReference, ItemReference, Literal, NodeReference
from tests.flows.conftest import MakeFlow

HEAD = "inputs:\n  q: {type: list, default: [1]}\noutputs: {}\nnodes:\n"
TOOL = "from promptflow.core import tool\n@tool\ndef t(x=1, **more):\n    return x\n"


def node(name: str, more: str = "", inputs: str = "{}") -> str:
    return (
        f"- name: {name}\n  type: python\n  source: {{type: code, path: t.py}}\n"
        f"  inputs: {inputs}\n{more}"
    )


@pytest.fixture
def make(make_flow: MakeFlow) -> object:
    def folder(nodes: str, head: str = HEAD) -> Path:
        return make_flow({"flow.dag.yaml": head + nodes, "t.py": TOOL})

    return folder


def extensions(make: MakeFlow, more: str) -> Extensions:
    return load_flow(make(node("a") + node("n", more))).nodes[1].extensions


def faults(make: MakeFlow, more: str) -> list[str]:
    with pytest.raises(FlowError) as caught:
        extensions(make, more)
    return [str(caught.value).splitlines()[0], *map(str, caught.value.others)]


def test_a_plain_node_shares_the_empty_extensions(make: MakeFlow) -> None:
    assert extensions(make, "  activate: {when: '${a.output}', is: 1}\n") is NONE
    assert extensions(make, "  enable_cache: true\n") is NONE


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("  retry: 4\n", Extensions(retry=Retry(4))),
        (
            "  retry: {max_attempts: 2, delay: 0, backoff: 3, jitter: 0.5, on: [KeyError]}\n",
            Extensions(retry=Retry(2, 0, 3, 0.5, ("KeyError",))),
        ),
        ("  timeout: 2.5\n", Extensions(timeout=2.5)),
        ("  on_error: {value: null}\n", Extensions(on_error=OnError(None))),
        ("  cache: true\n", Extensions(cache=Cache())),
        ("  cache: false\n  timeout: 1\n", Extensions(timeout=1.0)),
        ("  cache: {key: [x], ttl: 60}\n", Extensions(cache=Cache(("x",), 60))),
        ("  foreach: ${inputs.q}\n", Extensions(foreach=Foreach(InputReference("q")))),
        (
            "  foreach: {over: '${a.output.k}', as: row, concurrency: 9, on_error: null}\n",
            Extensions(foreach=Foreach(NodeReference("a", "output", "k"), "row", 9, "null")),
        ),
        (
            "  activate: {when: '${a.output}', greater_than: 3}\n",
            Extensions(condition=Comparison(NodeReference("a"), "greater_than", Literal(3))),
        ),
        (
            "  activate: {not: {any: [{when: '${a.output}', is: 1}]}}\n",
            Extensions(
                condition=Group(
                    "not",
                    (Group("any", (Comparison(NodeReference("a"), "is", Literal(1)),)),),
                )
            ),
        ),
    ],
)
def test_keys(make: MakeFlow, more: str, expected: Extensions) -> None:
    assert extensions(make, more) == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("  retry: {max_attempts: 0}\n", "`retry` has `max_attempts: 0`"),
        ("  retry: {atempts: 2}\n", "`retry` has no key 'atempts'"),
        ("  retry: {delay: soon}\n", "which is no number"),
        ("  timeout: 0\n", "`timeout: 0` is no time"),
        ("  timeout: .inf\n", "is no time"),
        ("  on_error: {}\n", "needs either `value` or `node`"),
        ("  on_error: {value: 1, node: a}\n", "needs either `value` or `node`"),
        ("  on_error: {node: b}\n", "falls back to 'b', which is no node"),
        ("  on_error: {node: n}\n", "takes the output that failed"),
        ("  cache: sometimes\n", "`cache` is no mapping"),
        ("  foreach: {as: x}\n", "has no `over`"),
        ("  foreach: {over: [1], as: '1x'}\n", "has `as: 1x`"),
        ("  foreach: {over: [1], concurrency: 65}\n", "at most 64"),
        ("  foreach: {over: [1], on_error: retry}\n", "has `on_error: retry`"),
        ("  activate: {when: '${a.output}', is: 1, is_not: 2}\n", "neither one comparison"),
        ("  activate: {greater_than: 2}\n", "neither one comparison"),
        ("  activate: {any: []}\n", "has a `any` that is no list"),
        ("  activate: {when: '${a.output}', matches: '('}\n", "It is no pattern"),
        ("  activate: {when: '${a.output}', in: 3}\n", "It takes a list or a reference"),
        ("  activate: {any: [{when: '${z.output}', is: 1}]}\n", "non-existent node 'z'"),
    ],
)
def test_faults(make: MakeFlow, more: str, expected: str) -> None:
    assert expected in faults(make, more)[0]


def test_every_fault_is_shown_with_its_line(make: MakeFlow) -> None:
    more = "  timeout: -1\n  retry:\n    delay: -1\n    on: 3\n  foreach: {over: null}\n"
    found = faults(make, more)
    assert [text.split(":")[1] for text in found] == ["15", "16", "13", "17"]


def test_items_are_told_from_nodes(make: MakeFlow) -> None:
    more = "  foreach: {over: '${inputs.q}', as: it}\n"
    inputs = "{a: '${it}', b: '${it.k[0]}', c: '${items.output}', d: '${it[1]}', e: '${inputs.q}'}"
    flow = load_flow(make(node("items") + node("n", more, inputs)))
    assert flow.nodes[1].inputs == {
        "a": ItemReference("it"),
        "b": ItemReference("it", "k[0]"),
        "c": NodeReference("items"),
        "d": ItemReference("it", "[1]"),
        "e": InputReference("q"),
    }


def test_who_takes_an_output_waits_for_the_fallback(make: MakeFlow) -> None:
    flow = load_flow(
        make(
            node("user", inputs="{x: '${p.output}'}")
            + node("p", "  on_error: {node: second}\n")
            + node("second", "  on_error: {node: third}\n")
            + node("third")
        )
    )
    waits = {item.name: item.dependencies for item in flow.nodes}
    assert waits == {
        "user": {"p", "second", "third"},
        "p": set(),
        "second": {"p"},
        "third": {"second"},
    }


def test_two_nodes_do_not_share_a_fallback(make: MakeFlow) -> None:
    with pytest.raises(FlowError, match="is the fallback of both 'p' and 'q'"):
        load_flow(
            make(
                node("p", "  on_error: {node: f}\n")
                + node("q", "  on_error: {node: f}\n")
                + node("f")
            )
        )


def test_a_circle_through_a_fallback_is_found(make: MakeFlow) -> None:
    nodes = (
        node("p", "  on_error: {node: f}\n")
        + node("user", inputs="{x: '${p.output}'}")
        + node("f", inputs="{x: '${user.output}'}")
    )
    with pytest.raises(FlowError, match="circular"):
        load_flow(make(nodes))


def test_the_environment_fills_any_value(make: MakeFlow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOUNDRY_TEST_N", "3")
    head = (
        "inputs:\n  q: {type: int, default: '${env:PHOUNDRY_TEST_N}'}\n"
        "outputs:\n  o: {type: string, reference: 'n=${env:PHOUNDRY_TEST_N}'}\n"
        "  d: {type: string, reference: '${env:PHOUNDRY_TEST_GONE:-none}'}\n"
        "  u: {type: string, reference: '${n.output}'}\nnodes:\n"
    )
    flow = load_flow(make(node("n", inputs="{x: '${env:PHOUNDRY_TEST_N}'}"), head))
    assert flow.inputs["q"].default == "3"
    assert flow() == {"o": "n=3", "d": "none", "u": 3}  # un-annotated literals are read as JSON


def test_every_missing_variable_is_named_with_its_line(make: MakeFlow) -> None:
    more = "  timeout: ${env:PHOUNDRY_TEST_GONE}\n"
    with pytest.raises(FlowError) as caught:
        load_flow(make(node("n", more, "{x: 'a ${env:PHOUNDRY_TEST_AWAY}'}")))
    text = str(caught.value)
    assert "flow.dag.yaml:8: The environment variable 'PHOUNDRY_TEST_AWAY' is not set." in text
    assert "flow.dag.yaml:9: The environment variable 'PHOUNDRY_TEST_GONE' is not set." in text
