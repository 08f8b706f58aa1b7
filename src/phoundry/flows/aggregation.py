"""Aggregation nodes: run once after all lines, with a list of the lines' values for each input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from phoundry.flows.reference import InputReference, Literal, NodeReference, Reference, resolve
from phoundry.flows.schedule import Line, NodeStatus, Step, run_steps


def values_for(steps: Sequence[Step], line: Line) -> dict[str, Any]:
    """What the aggregation nodes `steps` take from nodes of the finished `line`, by reference."""
    own = _names(steps)
    return {
        str(item): resolve(item, line.inputs, line.outputs)
        for step in steps
        for item in step.arguments.values()
        if isinstance(item, NodeReference) and item.node not in own
    }


def aggregate(
    steps: Sequence[Step],
    inputs: Sequence[Mapping[str, Any]],
    values: Sequence[Mapping[str, Any]],
    nodes: dict[str, NodeStatus],
) -> Line:
    """Run the aggregation nodes `steps` over finished lines; their outputs. `inputs` and `values`
    (what `values_for` gave) are those of each line; the statuses go to `nodes`.

    Flow inputs and ordinary nodes' outputs become lists, one value a line; literals and outputs of
    other aggregation nodes stay as they are.

    Raises:
        FlowError: of the first node that failed.
    """
    names = list(inputs[0]) if inputs else []
    over = Line({name: [line[name] for line in inputs] for name in names}, nodes=nodes)
    own = _names(steps)

    def listed(reference: Reference) -> Reference:
        match reference:
            case InputReference(name):
                return Literal([line[name] for line in inputs])
            case NodeReference(node) if node not in own:
                return Literal([line[str(reference)] for line in values])
            case _:
                return reference

    run_steps(
        [
            replace(
                step,
                node=replace(
                    step.node,
                    inputs={name: listed(item) for name, item in step.node.inputs.items()},
                ),
                arguments={name: listed(item) for name, item in step.arguments.items()},
            )
            for step in steps
        ],
        over,
    )
    return over


def _names(steps: Sequence[Step]) -> set[str]:
    return {step.node.name for step in steps}
