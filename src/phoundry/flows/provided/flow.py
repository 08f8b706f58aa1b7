"""`promptflow.core.Flow`, `AsyncFlow`, `promptflow.client.load_flow`: flows called from Python."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from phoundry.flows.connections import resolved
from phoundry.flows.environment import applied
from phoundry.flows.errors import NotSupported
from phoundry.flows.executor import surroundings
from phoundry.flows.load import load_flow as _load
from phoundry.flows.prepare import Connections
from phoundry.flows.provided.at_hand import AtHand, connections_at_hand
from phoundry.flows.provided.connections import Connection, values_of
from phoundry.flows.provided.prompty import AsyncPrompty, Prompty
from phoundry.flows.runner import Outcome, open_runner


@dataclass
class FlowContext:
    """`promptflow.entities.FlowContext`: how a loaded flow is run.

    `connections` are `{node: {input: name or connection}}`, with `model` and `deployment_name` of
    llm nodes among the inputs; `variant` is `${node.variant}`.
    """

    connections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Any])
    variant: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict[str, Any])
    environment_variables: Mapping[str, Any] = field(default_factory=dict[str, Any])
    streaming: bool = False


@dataclass(frozen=True, slots=True)
class LineResult:
    """What `invoke` gives: the output, and the statuses of the nodes."""

    output: Any
    nodes: Mapping[str, str]


class LoadedFlow:
    """A flow that was loaded; calling it with its inputs gives its outputs.

    Raises (when called):
        FlowError: it does not load or fails.
    """

    def __init__(self, path: Path, init: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self.context = FlowContext()
        self._init = init

    def __call__(self, *args: Any, **inputs: Any) -> Any:
        if args:
            raise TypeError("Flow can only be called with keyword arguments.")
        return self.invoke(inputs).output

    def invoke(self, inputs: Mapping[str, Any], **_: Any) -> LineResult:
        outcome = self.run(inputs)
        if outcome.error is not None:
            raise outcome.error
        return LineResult(outcome.output or {}, outcome.nodes)

    def run(self, inputs: Mapping[str, Any]) -> Outcome:
        """One run, whose failure is in the outcome."""
        if self.context.overrides:
            raise NotSupported(
                "FlowContext(overrides=…) is not applied.",
                remedy="Write the values into the flow's file, or give them as inputs.",
            )
        flow = _load(self.path, variant=self.context.variant)
        names, values = _chosen(self.context.connections)
        with connections_at_hand(values), applied(self.context.environment_variables, {}):
            found = resolved(flow, AtHand(), {}, names)
            everything = Connections(found.chosen, {**values, **found.values}, found.overrides)
            with surroundings(replace(flow), everything):
                return open_runner(flow, everything, self._init).run(inputs)


class Flow:
    """`Flow.load(path)(question="…")`."""

    @classmethod
    def load(cls, source: str | Path, **settings: Any) -> Any:
        """The flow in the folder or file `source`; a prompty takes `model` and other settings.

        Raises:
            NotFound: there is none.
        """
        path = Path(source)
        if path.suffix == ".prompty":
            return Prompty.load(path, **settings)
        return LoadedFlow(path.resolve(), settings.get("init"))


class AsyncLoadedFlow(LoadedFlow):
    async def __call__(self, *args: Any, **inputs: Any) -> Any:
        return await asyncio.to_thread(super().__call__, *args, **inputs)


class AsyncFlow:
    """`await AsyncFlow.load(path)(question="…")`."""

    @classmethod
    def load(cls, source: str | Path, **settings: Any) -> Any:
        path = Path(source)
        if path.suffix == ".prompty":
            return AsyncPrompty.load(path, **settings)
        return AsyncLoadedFlow(path.resolve(), settings.get("init"))


def load_flow(source: str | Path, **settings: Any) -> Any:
    """The flow in `source`; calling it with its inputs gives its outputs."""
    return Flow.load(source, **settings)


def _chosen(
    connections: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, str], dict[str, Mapping[str, Any]]]:
    """Overrides by `node.input`, and the values of the connections that are given whole."""
    names: dict[str, str] = {}
    values: dict[str, Mapping[str, Any]] = {}
    for node, inputs in connections.items():
        for name, item in inputs.items():
            if isinstance(item, Connection):
                key = item.name or f"{node}.{name}"
                values[key] = values_of(item, key)
                names[f"{node}.{name}"] = key
            else:
                names[f"{node}.{name}"] = str(item)
    return names, values
