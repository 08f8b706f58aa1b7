"""What others make of the added keys: the validator, and a node that runs alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phoundry.flows import load_flow
from phoundry.flows.check.checker import check_flow
from phoundry.flows.executor import surroundings
from phoundry.flows.prepare import Connections
from phoundry.flows.single_node import run_node
from tests.flows.conftest import MakeFlow
from tests.flows.extensions.conftest import IMPORTS, node

EVERYTHING = (
    "inputs:\n  rows: {type: list, default: [1, 2]}\n"
    "  q: {type: string, default: '${env:PHOUNDRY_TEST_Q:-hello}'}\n"
    "outputs:\n  o: {type: list, reference: '${each.output}'}\n"
    "  s: {type: object, reference: '${sub.output}'}\n"
    "  f: {type: string, reference: '${shaky.output}'}\nnodes:\n"
    + node("each", "  foreach: {over: '${inputs.rows}'}\n  retry: 2\n", x="${item}")
    + node("sub", path="inner/flow.dag.yaml", q="${inputs.q}").replace("python", "flow", 1)
    + "  activate: {any: [{when: '${inputs.q}', is_not: ''}, {when: 1, in: [2]}]}\n"
    + node("shaky", "  timeout: 5\n  on_error: {node: spare}\n", "bad.py", x=1)
    + node("spare", x="${env:PHOUNDRY_TEST_Q:-spare}")
)
FILES = {
    "flow.dag.yaml": EVERYTHING,
    "t.py": f"{IMPORTS}@tool\ndef t(x):\n    return x\n",
    "bad.py": f"{IMPORTS}@tool\ndef t(x):\n    raise ValueError(x)\n",
    "inner/t.py": f"{IMPORTS}@tool\ndef t(x):\n    return x\n",
    "inner/flow.dag.yaml": "inputs: {q: {type: string}}\n"
    "outputs: {o: {type: string, reference: '${n.output}'}}\nnodes:\n" + node("n", x="${inputs.q}"),
}


@pytest.fixture
def folder(make_flow: MakeFlow) -> Path:
    return make_flow(FILES)


def test_the_validator_knows_every_key(folder: Path) -> None:
    assert [str(item) for item in check_flow(folder).findings] == []


def test_the_validator_tells_an_item_from_a_node(folder: Path) -> None:
    file = folder / "flow.dag.yaml"
    file.write_text(EVERYTHING.replace("${item}", "${itme}"))
    [finding] = check_flow(folder).findings
    assert finding.code == "NodeReferenceNotFound"
    assert "itme" in finding.message


def test_the_whole_flow_runs(folder: Path) -> None:
    assert load_flow(folder)() == {"o": [1, 2], "s": {"o": "hello"}, "f": "spare"}


@pytest.mark.parametrize(
    ("name", "inputs", "expected"),
    [("each", {}, [1, 2]), ("sub", {"q": "hi"}, {"o": "hi"}), ("shaky", {}, "(ValueError) 1")],
)
def test_a_node_alone(folder: Path, name: str, inputs: dict[str, Any], expected: Any) -> None:
    flow = load_flow(folder)
    with surroundings(flow):
        outcome = run_node(flow, Connections(), name, inputs)
    if outcome.error is not None:
        assert str(expected) in outcome.error.message
    else:
        assert outcome.output == (expected if name == "sub" else {"output": expected})
