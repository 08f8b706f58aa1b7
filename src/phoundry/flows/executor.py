"""One flow made ready in this process, and its runs. User code is imported and called here, so the
process is a session's child, or the caller's own for `load_flow(path)(…)`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from phoundry.flows import spans
from phoundry.flows.aggregation import Aggregation
from phoundry.flows.environment import applied
from phoundry.flows.errors import FlowError, FlowOutputUnserializable
from phoundry.flows.extensions.wrap import extended
from phoundry.flows.includes import merged
from phoundry.flows.model import Flow, FlowOutput
from phoundry.flows.plan import Get, getter, make_plan
from phoundry.flows.prepare import Connections, prepare
from phoundry.flows.provided import import_names
from phoundry.flows.provided.core import metrics
from phoundry.flows.reference import NodeReference
from phoundry.flows.runner import Outcome
from phoundry.flows.schedule import CONCURRENCY, Line, NodeStatus, run_plan
from phoundry.flows.streams import Send, awaited, gathered
from phoundry.flows.values import coerce_inputs

PLAIN = frozenset({str, int, float, bool, type(None)})


class Executor:
    """A flow with its tools imported and its connections at hand; runs any number of times, from
    any number of threads. `concurrency` nodes of a line run at once, at most.

    Raises (when made):
        FlowError: a tool does not load; every one that doesn't is in it.
    """

    def __init__(
        self,
        flow: Flow,
        connections: Connections | None = None,
        *,
        concurrency: int = CONCURRENCY,
    ) -> None:
        self.flow = flow
        self.connections = connections or Connections()
        self.concurrency = concurrency
        steps = extended(flow, prepare(flow, self.connections))
        self._plan = make_plan([step for step in steps if not step.node.aggregation])
        self._aggregation = Aggregation([step for step in steps if step.node.aggregation])
        self._given = [
            (name, get)
            for name, output in flow.outputs.items()
            if (get := _output(flow, output)) is not None
        ]

    @property
    def aggregates(self) -> bool:
        return bool(self._aggregation)

    def line(
        self,
        inputs: Mapping[str, Any],
        *,
        number: int | None = 0,
        on_piece: Callable[[str], None] | None = None,
        stream_output: str | None = None,
        stream_outputs: Mapping[str, Send] | None = None,
    ) -> Outcome:
        send = self._send(on_piece, stream_output, stream_outputs)
        if not spans.recorded():
            return self._line(inputs, number, send)
        with spans.span("flow", self.flow.root.name, inputs=dict(inputs), number=number) as it:
            return _noted(it, self._line(inputs, number, send))

    def aggregate(
        self, inputs: Sequence[Mapping[str, Any]], aggregation_inputs: Sequence[Mapping[str, Any]]
    ) -> Outcome:
        with spans.span("flow", self.flow.root.name, aggregation=True, lines=len(inputs)) as it:
            return _noted(it, self._aggregate(inputs, aggregation_inputs))

    def run(
        self,
        inputs: Mapping[str, Any],
        *,
        on_piece: Callable[[str], None] | None = None,
        stream_output: str | None = None,
        stream_outputs: Mapping[str, Send] | None = None,
    ) -> Outcome:
        send = self._send(on_piece, stream_output, stream_outputs)
        with spans.span("flow", self.flow.root.name, inputs=dict(inputs)) as it:
            outcome = self._line(inputs, 0, send)
            if self.aggregates and outcome.error is None:
                over = self._aggregate([outcome.inputs], [outcome.aggregation_inputs])
                outcome.nodes.update(over.nodes)
                outcome.metrics.update(over.metrics)
                outcome.error = over.error
                outcome.output = None if over.error else outcome.output
            return _noted(it, outcome)

    def _line(
        self, inputs: Mapping[str, Any], number: int | None, send: Mapping[str, tuple[Send, ...]]
    ) -> Outcome:
        if send or awaited():  # a flow within a flow does not speak into the outer one's output
            with gathered(send):
                return self._run_line(inputs, number)
        return self._run_line(inputs, number)

    def _run_line(self, inputs: Mapping[str, Any], number: int | None) -> Outcome:
        line = Line({})
        found: dict[str, float] = {}
        token = metrics.set(found)
        try:
            line.inputs = coerce_inputs(self.flow.inputs, inputs, number)
            run_plan(self._plan, line, self.concurrency)
            style = self.flow.message_format
            # Every output is looked up before any is written: a path that leads nowhere is told
            # first.
            looked_up = [(name, get(line)) for name, get in self._given]
            output = {name: _as_json(name, value, style) for name, value in looked_up}
            taken = self._aggregation.values(line) if self._aggregation else {}
        except FlowError as error:
            return Outcome(None, line.nodes, found, error, line.inputs)
        finally:
            metrics.reset(token)
        return Outcome(output, line.nodes, found, None, line.inputs, taken)

    def _aggregate(
        self, inputs: Sequence[Mapping[str, Any]], values: Sequence[Mapping[str, Any]]
    ) -> Outcome:
        nodes: dict[str, NodeStatus] = {}
        found: dict[str, float] = {}
        token = metrics.set(found)
        try:
            self._aggregation.run(inputs, values, nodes)
        except FlowError as error:
            return Outcome(None, nodes, found, error)
        finally:
            metrics.reset(token)
        return Outcome({}, nodes, found)

    def _send(
        self,
        on_piece: Send | None,
        stream_output: str | None,
        stream_outputs: Mapping[str, Send] | None,
    ) -> dict[str, tuple[Send, ...]]:
        """Where the pieces of which node go: those behind the wanted outputs that can stream."""
        wanted = dict(stream_outputs or {})
        if on_piece is not None and stream_output is not None:
            wanted.setdefault(stream_output, on_piece)
        found: dict[str, tuple[Send, ...]] = {}
        for output, send in wanted.items():
            node = self._streaming(output)
            if node is not None:
                found[node] = (*found.get(node, ()), send)
        return found

    def _streaming(self, output: str) -> str | None:
        """The node whose text is the whole of `output` and of nothing else but outputs."""
        spec = self.flow.outputs.get(output)
        if spec is None or not isinstance(spec.reference, NodeReference) or spec.reference.path:
            return None
        # Text that another node, or a part of it, is made from can't leave before it is whole;
        # neither can text that a fallback or another attempt may replace.
        name = spec.reference.node
        found = self.flow.node(name)
        once = found is not None and found.extensions.says_it_once
        return name if once and not any(name in n.dependencies for n in self.flow.nodes) else None


def _output(flow: Flow, output: FlowOutput) -> Get | None:
    """What reads an output; None for those of aggregation, which Prompt flow drops."""
    reference = output.reference
    if isinstance(reference, NodeReference):
        node = flow.node(reference.node)
        if node is not None and node.aggregation:
            return None
        # Prompt flow never looks at the section here.
        return getter(NodeReference(reference.node, "output", reference.path))
    return getter(reference)


def _noted(it: spans.Span | None, outcome: Outcome) -> Outcome:
    """`outcome`, after its span has taken over what it says."""
    if it is not None:
        it.attributes["output"] = outcome.output
        it.attributes["status"] = "Failed" if outcome.error else "Completed"
        if outcome.error is not None:
            it.error = (outcome.error.code, outcome.error.message)
    return outcome


def _as_json(name: str, value: Any, style: str) -> Any:
    """`value` as JSON has it; images in it as mappings, written in the message format `style`."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, Iterator):  # a generator inside what a tool returned
        return _whole(name, cast(Iterator[Any], value))

    def encode(item: Any) -> Any:
        from phoundry.flows.multimedia import encoder

        return encoder(style)(item)

    try:
        return json.loads(json.dumps(value, ensure_ascii=False, default=encode))
    except (TypeError, ValueError, RecursionError) as error:
        raise FlowOutputUnserializable(
            f"The output '{name}' for flow is incorrect. The output value is not JSON "
            f"serializable. JSON dump failed: ({type(error).__name__}) {error}. Please verify your "
            "flow output and make sure the value serializable."
        ) from None


def _whole(name: str, pieces: Iterator[Any]) -> str:
    try:
        return "".join(map(str, pieces))
    except Exception as error:  # noqa: BLE001 - the boundary to the user's code
        from phoundry.flows.tools.python import tool_failed

        raise tool_failed(name, error) from None


@contextmanager
def surroundings(flow: Flow, connections: Connections | None = None) -> Generator[None]:
    """What a flow's code expects: its folder as working directory and on the import path, the
    `promptflow` names, its environment variables. All of it is undone at the end."""
    values = (connections or Connections()).values
    before = set(sys.modules)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # the folder stays as it is
    paths, folder = list(sys.path), os.getcwd()  # noqa: PTH109 - restored with chdir
    with merged(flow) as place:
        sys.path.insert(0, str(place))
        os.chdir(place)
        try:
            with import_names(values), applied(flow.environment_variables, values):
                yield
        finally:
            os.chdir(folder)
            sys.path[:] = paths
            sys.dont_write_bytecode = written
            for name in set(sys.modules) - before:
                # The next flow may have a `helpers.py` too; libraries stay.
                file = getattr(sys.modules[name], "__file__", None) or ""
                if file.startswith((f"{flow.root}{os.sep}", f"{place}{os.sep}")):
                    del sys.modules[name]
