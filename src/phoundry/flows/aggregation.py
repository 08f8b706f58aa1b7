"""Aggregation nodes: run once after all lines, with a list of the lines' values for each input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from phoundry.flows.reference import Literal, NodeReference, Reference, resolve
from phoundry.flows.schedule import Line, Step, run_steps


def aggregate(steps: Sequence[Step], lines: Sequence[Line]) -> Line:
    """Run the aggregation nodes `steps` over finished `lines`; their outputs and statuses.

    Flow inputs and ordinary nodes' outputs become lists, one value a line; literals and outputs of
    other aggregation nodes stay as they are.

    Raises:
        FlowError: of the first node that failed.
    """
    over = Line({name: [line.inputs[name] for line in lines] for name in lines[0].inputs})
    own = {step.node.name for step in steps}
    listed = [
        replace(
            step,
            node=replace(
                step.node,
                inputs={name: _listed(item, lines, own) for name, item in step.node.inputs.items()},
            ),
            arguments={name: _listed(item, lines, own) for name, item in step.arguments.items()},
        )
        for step in steps
    ]
    try:
        run_steps(listed, over)
    finally:
        lines[-1].nodes.update(over.nodes)
    return over


def _listed(reference: Reference, lines: Sequence[Line], own: set[str]) -> Reference:
    if isinstance(reference, Literal):
        return reference
    if isinstance(reference, NodeReference) and reference.node in own:
        return reference
    values: list[Any] = [resolve(reference, line.inputs, line.outputs) for line in lines]
    return Literal(values)
