"""Pieces of several outputs while the line still runs, each in its order."""

from __future__ import annotations

from typing import Any

import pytest

from phoundry.flows import load_flow
from phoundry.flows.executor import Executor, surroundings
from tests.flows.conftest import MakeFlow

HEAD = "from promptflow.core import tool\n@tool\n"
SYNC = HEAD + "def t(x):\n    yield x\n    yield '!'\n"
ASYNC = HEAD + "async def t(x):\n    yield x\n    yield '!'\n"


def flow_of(nodes: str, outputs: str) -> str:
    return f"inputs: {{}}\noutputs:\n{outputs}nodes:\n{nodes}"


def node(name: str, path: str, x: str, more: str = "") -> str:
    return (
        f"- name: {name}\n  type: python\n  source: {{type: code, path: {path}}}\n"
        f"  inputs: {{x: '{x}'}}\n{more}"
    )


def output(name: str, reference: str) -> str:
    return f"  {name}: {{type: string, reference: '{reference}'}}\n"


def pieces(make_flow: MakeFlow, yaml: str, *outputs: str) -> tuple[Any, dict[str, list[str]]]:
    flow = load_flow(make_flow({"flow.dag.yaml": yaml, "s.py": SYNC, "a.py": ASYNC}))
    found: dict[str, list[str]] = {name: [] for name in outputs}
    with surroundings(flow):
        outcome = Executor(flow).run(
            {}, stream_outputs={name: found[name].append for name in outputs}
        )
    assert outcome.error is None
    return outcome.output, found


def test_several_outputs_speak_at_once(make_flow: MakeFlow) -> None:
    nodes = node("one", "s.py", "hi") + node("two", "a.py", "ho")
    outputs = output("o", "${one.output}") + output("p", "${two.output}")
    whole, found = pieces(make_flow, flow_of(nodes, outputs), "o", "p")
    assert whole == {"o": "hi!", "p": "ho!"}
    assert found == {"o": ["hi", "!"], "p": ["ho", "!"]}


def test_two_outputs_of_one_node_both_get_its_pieces(make_flow: MakeFlow) -> None:
    outputs = output("o", "${one.output}") + output("p", "${one.output}")
    _, found = pieces(make_flow, flow_of(node("one", "s.py", "hi"), outputs), "o", "p")
    assert found == {"o": ["hi", "!"], "p": ["hi", "!"]}


@pytest.mark.parametrize(
    "nodes",
    [
        node("one", "s.py", "hi") + node("reads", "s.py", "${one.output}"),
        node("one", "s.py", "hi", "  retry: 2\n"),
        node("one", "s.py", "hi", "  on_error: {value: none}\n"),
        node("one", "s.py", "hi", "  timeout: 30\n"),
    ],
)
def test_text_that_may_not_be_the_answer_waits(make_flow: MakeFlow, nodes: str) -> None:
    yaml = flow_of(nodes, output("o", "${one.output}"))
    whole, found = pieces(make_flow, yaml, "o")
    assert whole == {"o": "hi!"}
    assert found == {"o": []}


def test_names_that_are_no_outputs_are_passed_over(make_flow: MakeFlow) -> None:
    yaml = flow_of(node("one", "s.py", "hi"), output("o", "${one.output}"))
    assert pieces(make_flow, yaml, "gone")[1] == {"gone": []}
