"""Aggregation nodes: run once after all lines, with a list of the lines' values for each input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from phoundry.flows.plan import getter, make_plan
from phoundry.flows.reference import InputReference, NodeReference, Reference
from phoundry.flows.schedule import Line, NodeStatus, Step, run_plan


class Aggregation:
    """The aggregation nodes of a flow, made ready.

    Flow inputs and ordinary nodes' outputs become lists, one value a line; literals and outputs of
    other aggregation nodes stay as they are.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._own = {step.node.name for step in steps}
        wanted = {
            str(item): item
            for step in steps
            for item in step.arguments.values()
            if isinstance(item, NodeReference) and item.node not in self._own
        }
        self._values = {text: getter(item) for text, item in wanted.items()}
        self._inputs = {
            item.name
            for step in steps
            for item in step.arguments.values()
            if isinstance(item, InputReference)
        }
        self._plan = make_plan([self._listed(step) for step in steps])

    def __bool__(self) -> bool:
        return bool(self._own)

    def values(self, line: Line) -> dict[str, Any]:
        """What the aggregation takes from nodes of the finished `line`, by reference."""
        return {text: get(line) for text, get in self._values.items()}

    def run(
        self,
        inputs: Sequence[Mapping[str, Any]],
        values: Sequence[Mapping[str, Any]],
        nodes: dict[str, NodeStatus],
    ) -> Line:
        """Run over finished lines; the outputs. `inputs` and `values` (what `values` gave) are
        those of each line; the statuses go to `nodes`.

        Raises:
            FlowError: of the first node that failed.
        """
        names = {*self._inputs, *(inputs[0] if inputs else ())}
        # What is no input of the flow need not be in every line.
        lists = {name: [line.get(name) for line in inputs] for name in names}
        lists |= {text: [line[text] for line in values] for text in self._values}
        over = Line(lists, nodes=nodes)
        run_plan(self._plan, over)
        return over

    def _listed(self, step: Step) -> Step:
        """`step` with ordinary nodes' outputs as inputs of their own, named as they are written."""

        def listed(reference: Reference) -> Reference:
            if isinstance(reference, NodeReference) and reference.node not in self._own:
                return InputReference(str(reference))
            return reference

        inputs = {name: listed(item) for name, item in step.node.inputs.items()}
        return replace(
            step,
            node=replace(step.node, inputs=inputs),
            arguments={name: listed(item) for name, item in step.arguments.items()},
        )
