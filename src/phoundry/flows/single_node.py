"""One node of a flow alone: `flow test --node`.

The node becomes a flow of its own, whose inputs are what the node refers to. So everything that a
node may have (retries, images, connections) is as it is in the whole flow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from phoundry.errors import nearest
from phoundry.flows.document import is_mapping
from phoundry.flows.errors import InputNotFound, NodeReferenceNotFound
from phoundry.flows.extensions.model import NONE
from phoundry.flows.model import Flow, FlowInput, FlowOutput, Node
from phoundry.flows.prepare import Connections
from phoundry.flows.reference import InputReference, NodeReference, Reference
from phoundry.flows.runner import Outcome
from phoundry.flows.values import coerce_inputs

RESULT = "output"
OVER = "foreach.over"


def run_node(flow: Flow, connections: Connections, name: str, inputs: Mapping[str, Any]) -> Outcome:
    """Run the node `name` on `inputs`; its output is the outcome's, under `output` unless it is an
    object. Call it inside `executor.surroundings(flow, connections)`.

    An input of the node is given by its own name, or by what it refers to (`inputs.question`,
    `other.output`, or `question` alone); those that the flow's defaults fill may be left out.

    Raises:
        NodeReferenceNotFound: the flow has no such node.
        InputNotFound: inputs are missing; all of them are named.
        FlowError: the tool does not load.
    """
    from phoundry.flows.executor import Executor

    alone, values = single(flow, name, inputs)
    outcome = Executor(alone, connections).run(values)
    if outcome.output is not None and isinstance(outcome.output[RESULT], dict):
        outcome.output = outcome.output[RESULT]
    return outcome


def single(flow: Flow, name: str, inputs: Mapping[str, Any]) -> tuple[Flow, dict[str, Any]]:
    """The flow of one node, and what it is run with. Raises as `run_node`."""
    node = flow.node(name)
    if node is None:
        names = [item.name for item in flow.nodes]
        hint = nearest(name, names) or names
        raise NodeReferenceNotFound(
            f"Cannot find {name} in the flow.",
            remedy=f"It has {', '.join(hint)}." if hint else "It has no nodes.",
        )
    references = _references(node)
    found = {key: _value(flow, key, item, inputs) for key, item in references.items()}
    if missing := sorted(key for key, value in found.items() if value is None):
        key = missing[0]
        raise InputNotFound(
            f"Node '{name}' needs {', '.join(missing)}, and no value is given.",
            remedy=f"Write --inputs {key}=VALUE, or {str(references[key])[2:-1]}=VALUE.",
        )
    values = {key: value[0] for key, value in found.items() if value}
    alone = _alone(flow, node, references, values)
    return _listed(flow, node, alone, values) if node.aggregation else (alone, values)


def _references(node: Node) -> dict[str, Reference]:
    """What other nodes and the flow's inputs give; the list of `foreach` goes by its key."""
    found: dict[str, Reference] = dict(node.inputs)
    if node.extensions.foreach is not None:
        found[OVER] = node.extensions.foreach.over
    return {
        key: item for key, item in found.items() if isinstance(item, InputReference | NodeReference)
    }


def _value(flow: Flow, key: str, item: Reference, inputs: Mapping[str, Any]) -> tuple[Any] | None:
    """What is given for the input `key`, in a tuple; None where nothing is."""
    names = [str(item)[2:-1], key]
    if isinstance(item, InputReference):
        names.append(item.name)
    for name in names:
        if name in inputs:
            return (_picked(item, inputs[name]),)
    spec = flow.inputs.get(item.name) if isinstance(item, InputReference) else None
    return (spec.default,) if spec is not None and spec.default is not None else None


def _picked(item: Reference, value: Any) -> Any:
    """For `${other.output.score}`, `{"score": 1}` is as good as `1`."""
    if isinstance(item, NodeReference) and is_mapping(value) and item.path in value:
        return value[item.path]
    return value


def _alone(
    flow: Flow, node: Node, references: Mapping[str, Reference], found: Mapping[str, Any]
) -> Flow:
    declared: dict[str, FlowInput] = {}
    for key, item in references.items():
        spec = flow.inputs.get(item.name) if isinstance(item, InputReference) else None
        # What another node would give is taken as it is: no text becomes a number.
        kind = "string" if isinstance(found[key], str) else "object"
        declared[key] = replace(spec, default=None) if spec else FlowInput(kind)
    taken: dict[str, Reference] = {
        key: InputReference(key) if key in references else item for key, item in node.inputs.items()
    }
    # Conditions and standbys are about other nodes; a failure is what is looked for.
    keys = NONE
    if node.extensions is not NONE:  # which is told by identity
        keys = replace(
            node.extensions, condition=None, on_error=None, standby_for=None, after=frozenset()
        )
    if keys.foreach is not None and OVER in references:
        keys = replace(keys, foreach=replace(keys.foreach, over=InputReference(OVER)))
    return replace(
        flow,
        inputs=declared,
        outputs={RESULT: FlowOutput("object", NodeReference(node.name))},
        nodes=(replace(node, inputs=taken, activate=None, aggregation=False, extensions=keys),),
    )


def _listed(flow: Flow, node: Node, alone: Flow, values: dict[str, Any]) -> tuple[Flow, Any]:
    """For an aggregation: what comes from lines is a list, here of one."""
    of_lines = [
        key
        for key, item in node.inputs.items()
        if isinstance(item, InputReference)
        or (isinstance(item, NodeReference) and not _aggregates(flow, item.node))
    ]
    typed = coerce_inputs(alone.inputs, values, None)
    typed |= {key: [typed[key]] for key in of_lines}
    return replace(alone, inputs={key: FlowInput("object") for key in alone.inputs}), typed


def _aggregates(flow: Flow, name: str) -> bool:
    found = flow.node(name)
    return found is not None and found.aggregation
