"""One node alone: what is missing, what is not there, what does not count."""

from __future__ import annotations

import pytest

from phoundry.flows.errors import InputNotFound, NodeReferenceNotFound
from phoundry.flows.executor import surroundings
from phoundry.flows.load import load_flow
from phoundry.flows.prepare import Connections
from phoundry.flows.runner import Outcome
from phoundry.flows.single_node import run_node
from tests.flows.conftest import MakeFlow

FILES = {
    "flow.dag.yaml": """\
inputs:
  n: {type: int}
outputs: {}
nodes:
- {name: first, type: python, source: {type: code, path: t.py}, inputs: {x: '${inputs.n}'}}
- name: second
  type: python
  source: {type: code, path: t.py}
  inputs: {x: '${first.output.k}', y: '${inputs.n}'}
  activate: {when: '${first.output.k}', is: never}
- name: each
  type: python
  source: {type: code, path: t.py}
  foreach: {over: '${first.output}', as: it}
  inputs: {x: '${it}', y: '${inputs.n}'}
""",
    "t.py": "from promptflow.core import tool\n@tool\ndef t(x, y=None):\n    return [x, y]\n",
}


def alone(make_flow: MakeFlow, name: str, **inputs: object) -> Outcome:
    flow = load_flow(make_flow(FILES))
    with surroundings(flow):
        given = {key.replace("__", "."): value for key, value in inputs.items()}
        return run_node(flow, Connections(), name, given)


def test_every_missing_input_is_named_with_how_to_give_it(make_flow: MakeFlow) -> None:
    with pytest.raises(InputNotFound, match="needs x, y") as caught:
        alone(make_flow, "second")
    assert "first.output.k=VALUE" in str(caught.value.remedy)


def test_a_node_that_is_not_there(make_flow: MakeFlow) -> None:
    with pytest.raises(NodeReferenceNotFound) as caught:
        alone(make_flow, "secnd")
    assert caught.value.remedy == "It has second."


def test_conditions_do_not_count_and_inputs_are_typed(make_flow: MakeFlow) -> None:
    outcome = alone(make_flow, "second", first__output__k="a", n="7")
    assert outcome.output == {"output": ["a", 7]}
    assert outcome.nodes == {"second": "Completed"}


def test_a_list_is_gone_through(make_flow: MakeFlow) -> None:
    outcome = alone(make_flow, "each", first__output=[1, 2], n=0)
    assert outcome.error is None, outcome.error
    assert outcome.output == {"output": [[1, 0], [2, 0]]}
