"""One flow made ready in this process, and its runs. User code is imported and called here, so the
process is a session's child, or the caller's own for `load_flow(path)(…)`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from phoundry.flows.aggregation import aggregate, values_for
from phoundry.flows.environment import applied
from phoundry.flows.errors import FlowError, FlowOutputUnserializable
from phoundry.flows.model import Flow
from phoundry.flows.prepare import Connections, prepare
from phoundry.flows.provided import import_names
from phoundry.flows.provided.core import metrics
from phoundry.flows.reference import InputReference, Literal, NodeReference, walk
from phoundry.flows.runner import Outcome, open_runner
from phoundry.flows.schedule import Line, NodeStatus, Step, run_steps
from phoundry.flows.streams import Piece, gathered
from phoundry.flows.values import coerce_inputs


class Executor:
    """A flow with its tools imported and its connections at hand; runs any number of times.

    Raises (when made):
        FlowError: a tool does not load; every one that doesn't is in it.
    """

    def __init__(self, flow: Flow, connections: Connections | None = None) -> None:
        self.flow = flow
        self.connections = connections or Connections()
        steps = prepare(flow, self.connections)
        self.steps: list[Step] = [step for step in steps if not step.node.aggregation]
        self.aggregating: list[Step] = [step for step in steps if step.node.aggregation]

    @property
    def aggregates(self) -> bool:
        return bool(self.aggregating)

    def line(
        self,
        inputs: Mapping[str, Any],
        *,
        number: int = 0,
        on_piece: Callable[[str], None] | None = None,
        stream_output: str | None = None,
    ) -> Outcome:
        line = Line({})
        found: dict[str, float] = {}
        token = metrics.set(found)
        try:
            with gathered(self._piece(stream_output, on_piece)):
                line.inputs = coerce_inputs(self.flow.inputs, inputs, number)
                run_steps(self.steps, line)
                output = self._outputs(line)
                taken = values_for(self.aggregating, line)
        except FlowError as error:
            return Outcome(None, line.nodes, found, error, line.inputs)
        finally:
            metrics.reset(token)
        return Outcome(output, line.nodes, found, None, line.inputs, taken)

    def aggregate(
        self, inputs: Sequence[Mapping[str, Any]], aggregation_inputs: Sequence[Mapping[str, Any]]
    ) -> Outcome:
        nodes: dict[str, NodeStatus] = {}
        found: dict[str, float] = {}
        token = metrics.set(found)
        try:
            aggregate(self.aggregating, inputs, aggregation_inputs, nodes)
        except FlowError as error:
            return Outcome(None, nodes, found, error)
        finally:
            metrics.reset(token)
        return Outcome({}, nodes, found)

    def run(
        self,
        inputs: Mapping[str, Any],
        *,
        on_piece: Callable[[str], None] | None = None,
        stream_output: str | None = None,
    ) -> Outcome:
        outcome = self.line(inputs, on_piece=on_piece, stream_output=stream_output)
        if self.aggregates and outcome.error is None:
            over = self.aggregate([outcome.inputs], [outcome.aggregation_inputs])
            outcome.nodes.update(over.nodes)
            outcome.metrics.update(over.metrics)
            outcome.error = over.error
            outcome.output = None if over.error else outcome.output
        return outcome

    def _piece(self, output: str | None, on_piece: Callable[[str], None] | None) -> Piece | None:
        """Where the pieces of the node behind `output` go; None when they are not wanted."""
        spec = self.flow.outputs.get(output) if output else None
        if spec is None or on_piece is None or not isinstance(spec.reference, NodeReference):
            return None
        # Text that another node, or a part of it, is made from can't leave before it is whole.
        name = spec.reference.node
        if spec.reference.path or any(name in node.dependencies for node in self.flow.nodes):
            return None
        return Piece(name, on_piece)

    def _outputs(self, line: Line) -> dict[str, Any]:
        outputs: dict[str, Any] = {}
        for name, spec in self.flow.outputs.items():
            match spec.reference:
                case Literal(value):
                    outputs[name] = value
                case InputReference(wanted):
                    outputs[name] = line.inputs[wanted]
                case NodeReference(node, _, path):
                    # Prompt flow drops outputs of aggregation and never looks at the section.
                    found = self.flow.node(node)
                    if found is not None and found.aggregation:
                        continue
                    outputs[name] = walk(node, line.outputs[node], path)
            outputs[name] = _as_json(name, outputs[name])
        return outputs


def _as_json(name: str, value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise FlowOutputUnserializable(
            f"The output '{name}' for flow is incorrect. The output value is not JSON "
            f"serializable. JSON dump failed: ({type(error).__name__}) {error}. Please verify your "
            "flow output and make sure the value serializable."
        ) from None


@contextmanager
def surroundings(flow: Flow, connections: Connections | None = None) -> Generator[None]:
    """What a flow's code expects: its folder as working directory and on the import path, the
    `promptflow` names, its environment variables. All of it is undone at the end."""
    values = (connections or Connections()).values
    before = set(sys.modules)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # the folder stays as it is
    paths, folder = list(sys.path), os.getcwd()  # noqa: PTH109 - restored with chdir
    includes = [str((flow.root / item).parent) for item in flow.additional_includes]
    sys.path[:0] = [str(flow.root), *includes]
    os.chdir(flow.root)
    try:
        with import_names(), applied(flow.environment_variables, values):
            yield
    finally:
        os.chdir(folder)
        sys.path[:] = paths
        sys.dont_write_bytecode = written
        for name in set(sys.modules) - before:
            # The next flow may have a `helpers.py` too; libraries stay.
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(
                f"{flow.root}{os.sep}"
            ):
                del sys.modules[name]


def run_in_process(
    flow: Flow, inputs: Mapping[str, Any], connections: Connections | None = None
) -> dict[str, Any]:
    """The outputs of one run in this process, whose working directory and import path are the
    flow's meanwhile.

    Raises:
        FlowError: the flow does not load or fails.
    """
    with surroundings(flow, connections):
        outcome = open_runner(flow, connections).run(inputs)
    if outcome.error is not None:
        raise outcome.error
    return outcome.output or {}
