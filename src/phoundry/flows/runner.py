"""What runs a flow, whatever its kind: a line at a time, then the aggregation over the lines.

`Executor` (DAG) is one; flex flows and prompties have their own. Sessions, batch runs and servers
know this page only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from phoundry.flows.errors import FlowError

Send = Callable[[str], None]

if TYPE_CHECKING:
    from phoundry.flows.model import Flow
    from phoundry.flows.prepare import Connections
    from phoundry.flows.schedule import NodeStatus


@dataclass(slots=True)
class Outcome:
    """What a line or an aggregation gave; `error` is None when it completed.

    `inputs` are the line's, coerced. `aggregation_inputs` are the values which the flow's
    aggregation takes from this line, by reference as written (`${node.output.score}`), as they are
    in Python: not always JSON.
    """

    output: dict[str, Any] | None
    nodes: dict[str, NodeStatus]
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    error: FlowError | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    aggregation_inputs: dict[str, Any] = field(default_factory=dict[str, Any])

    def to_dict(self) -> dict[str, Any]:
        """The fields of `specs.flow.FlowResult`."""
        return {
            "status": "Failed" if self.error else "Completed",
            "output": self.output,
            "nodes": self.nodes,
            "metrics": self.metrics,
            "error": self.error.to_dict() if self.error else None,
        }


class Runner(Protocol):
    """A flow made ready in this process. Its faults are outcomes, never exceptions."""

    @property
    def aggregates(self) -> bool:
        """Whether `aggregate` has anything to do."""
        ...

    def line(
        self,
        inputs: Mapping[str, Any],
        *,
        number: int | None = 0,
        on_piece: Send | None = None,
        stream_output: str | None = None,
        stream_outputs: Mapping[str, Send] | None = None,
    ) -> Outcome:
        """One line, without aggregation.

        `number` is the line's place in its batch, from 0, and stands in messages; None for a
        request to a server, which has no lines. `on_piece` gets the text of the flow output
        `stream_output` as it comes, when what is behind it streams; `stream_outputs` does so for
        several, by output.
        """
        ...

    def aggregate(
        self, inputs: Sequence[Mapping[str, Any]], aggregation_inputs: Sequence[Mapping[str, Any]]
    ) -> Outcome:
        """Over the lines that completed: `inputs` and `aggregation_inputs` of each one's outcome,
        in the order of the lines. The outcome has the aggregation's statuses and metrics."""
        ...

    def run(
        self,
        inputs: Mapping[str, Any],
        *,
        on_piece: Send | None = None,
        stream_output: str | None = None,
        stream_outputs: Mapping[str, Send] | None = None,
    ) -> Outcome:
        """One line and the aggregation over it: what `flow test` shows."""
        ...


def open_runner(
    flow: Flow,
    connections: Connections | None = None,
    init: Mapping[str, Any] | None = None,
    *,
    concurrency: int = 16,
) -> Runner:
    """`flow` with its tools imported; call it inside `executor.surroundings(flow, connections)`.

    `init` are the arguments of a flex flow's class; `concurrency` is how many nodes of one line
    may run at once (a batch takes 2).

    Raises:
        FlowError: a tool does not load; every one that doesn't is in it.
    """
    if flow.kind == "flex":
        from phoundry.flows.flex.runner import FlexRunner

        return FlexRunner(flow, connections, init)
    if flow.kind == "prompty":
        from phoundry.flows.prompty.runner import PromptyRunner

        return PromptyRunner(flow, connections, init)
    from phoundry.flows.executor import Executor

    return Executor(flow, connections, concurrency=concurrency)
