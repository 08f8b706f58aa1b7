"""Whether the graph of a flow holds: names, references, order, outputs. All faults at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set

from phoundry.errors import nearest
from phoundry.flows.circles import never_free
from phoundry.flows.errors import (
    DuplicateNodeName,
    EmptyOutputReference,
    FlowError,
    InputReferenceNotFound,
    InvalidNodeReference,
    NodeCircularDependency,
    NodeReferenceNotFound,
    OutputReferenceNotFound,
)
from phoundry.flows.model import Flow, FlowOutput, Node
from phoundry.flows.reference import InputReference, Literal, NodeReference, Reference

MOST_NAMES = 500  # of which the nearest is looked for
IN_GRAPH = "Invalid node definitions found in the flow graph."


def check_topology(flow: Flow) -> list[FlowError]:
    """Every fault, in the order in which Prompt flow would meet them."""
    errors: list[FlowError] = [*_duplicates(flow)]
    for node in flow.nodes:
        errors += _missing_inputs(flow, node)
    names = {node.name: None for node in flow.nodes}
    aggregating = {node.name for node in flow.nodes if node.aggregation}
    for node in flow.nodes:
        missing, wrong = _missing_nodes(flow, node, names), _aggregation(flow, node, aggregating)
        errors += [*wrong, *missing] if node.aggregation else [*missing, *wrong]
    if not errors and (rest := _in_circles(flow)):
        errors.append(
            NodeCircularDependency(
                f"{IN_GRAPH} Node circular dependency has been detected among the nodes in your "
                f"flow. Kindly review the reference relationships for the nodes {rest} and resolve "
                "the circular reference issue in the flow.",
                where=_where(flow, rest[0]),
            )
        )
    for name, output in flow.outputs.items():
        errors += _output(flow, name, output, names)
    return errors


def _duplicates(flow: Flow) -> list[FlowError]:
    seen: set[str] = set()
    errors: list[FlowError] = []
    for node in flow.nodes:
        if node.name in seen:
            message = (
                f"{IN_GRAPH} Node with name '{node.name}' appears more than once in the node "
                "definitions in your flow, which is not allowed. To address this issue, please "
                "review your flow and either rename or remove nodes with identical names."
            )
            errors.append(DuplicateNodeName(message, where=flow.where(node.line)))
        seen.add(node.name)
    return errors


def _missing_inputs(flow: Flow, node: Node) -> list[FlowError]:
    # An activate condition's input is not looked at here: Prompt flow finds it during the run.
    return [
        InputReferenceNotFound(
            f"{IN_GRAPH} Node '{node.name}' references flow input '{item.name}' which is not "
            "defined in your flow. To resolve this issue, please review your flow, ensuring that "
            "you either add the missing flow inputs or adjust node reference to the correct flow "
            "input.",
            remedy=_near(item.name, list(flow.inputs)),
            where=flow.where(node.line),
        )
        for item in node.inputs.values()
        if isinstance(item, InputReference) and item.name not in flow.inputs
    ]


def _missing_nodes(flow: Flow, node: Node, names: Mapping[str, None]) -> list[FlowError]:
    return [
        NodeReferenceNotFound(
            f"{IN_GRAPH} Node '{node.name}' references a non-existent node '{name}' in your flow. "
            "Please review your flow to ensure that the node name is accurately specified.",
            remedy=_near(name, list(names)),
            where=flow.where(node.line),
        )
        for name in sorted(name for name in node.dependencies if name not in names)
    ]


def _aggregation(flow: Flow, node: Node, aggregating: Set[str]) -> list[FlowError]:
    where = flow.where(node.line)
    if not node.aggregation:
        if wrong := sorted(node.dependencies & aggregating):
            message = (
                f"{IN_GRAPH} Non-aggregate node '{node.name}' cannot reference aggregate nodes "
                f"{wrong}. Please review and rectify the node reference."
            )
            return [InvalidNodeReference(message, where=where)]
        return []
    for when in _conditions(node):
        if isinstance(when, NodeReference) and when.node not in aggregating:
            message = (
                f"{IN_GRAPH} Non-aggregation node '{when.node}' cannot be referenced in the "
                f"activate config of the aggregation node '{node.name}'. Please review and rectify "
                "the node reference."
            )
            return [InvalidNodeReference(message, where=where)]
    return []


def _conditions(node: Node) -> list[Reference]:
    """What the conditions of `node` look at."""
    found = [node.activate.when] if node.activate else []
    if node.extensions.condition is not None:
        from phoundry.flows.extensions.keys import condition_references

        found += condition_references(node.extensions.condition)
    return found


def _in_circles(flow: Flow) -> list[str]:
    """Names of the nodes that can never start, sorted; empty when an order exists."""
    return sorted(never_free({node.name: set(node.dependencies) for node in flow.nodes}))


def _output(
    flow: Flow, name: str, output: FlowOutput, nodes: Mapping[str, None]
) -> list[FlowError]:
    where = flow.where(output.line)
    match output.reference:
        case Literal(value) if value == "":
            message = (
                f"The output '{name}' for flow is incorrect. The reference is not specified for "
                f"the output '{name}' in the flow. To rectify this, ensure that you accurately "
                "specify the reference in the flow."
            )
            return [EmptyOutputReference(message, where=where)]
        case InputReference(wanted) if wanted not in flow.inputs:
            kind, known = "flow input", list(flow.inputs)
        case NodeReference(wanted) if wanted not in nodes:
            kind, known = "node", list(nodes)
        case _:
            return []
    message = (
        f"The output '{name}' for flow is incorrect. The output '{name}' references non-existent "
        f"{kind} '{wanted}' in your flow. To resolve this issue, please carefully review your flow "
        "and correct the reference definition for the output in question."
    )
    return [OutputReferenceNotFound(message, remedy=_near(wanted, known), where=where)]


def near_names(name: str, known: Collection[str]) -> list[str]:
    """As `errors.nearest`; none where there are so many that looking would take seconds."""
    return nearest(name, known) if len(known) <= MOST_NAMES else []


def _near(name: str, known: list[str]) -> str | None:
    near = near_names(name, known)
    return f"Did you mean {' or '.join(near)}?" if near else None


def _where(flow: Flow, name: str) -> str:
    node = flow.node(name)
    return flow.where(node.line if node else 0)
