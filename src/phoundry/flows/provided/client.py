"""`promptflow.client.PFClient` inside a flow: it reaches what the flow was started with, no more.

A deployed flow must not read other runs, nor the secrets of other connections. Scripts, which are
their user's own, get `phoundry.promptflow.client` under this name instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phoundry.flows.environment import applied
from phoundry.flows.errors import NotSupported
from phoundry.flows.provided.at_hand import connection_values, names_at_hand
from phoundry.flows.provided.connections import Connection, build
from phoundry.flows.provided.flow import LoadedFlow
from phoundry.flows.provided.prompty import Prompty

INSTEAD: Mapping[str, str] = {
    "run": "phoundry run create --flow FLOW --data DATA",
    "stream": "phoundry run show NAME",
    "get_details": "phoundry run show-details NAME",
    "get_metrics": "phoundry run show-metrics NAME",
    "visualize": "phoundry run visualize NAME",
    "runs": "phoundry run list",
    "flows": "phoundry flow",
    "traces": "phoundry trace list",
}


class ConnectionOperations:
    """`client.connections`: those that the flow's files name. They are made by a command."""

    def get(self, name: str, **_: Any) -> Connection:
        """The connection, secrets included.

        Raises:
            GetConnectionError: it is not among those that the flow was started with.
        """
        return build(connection_values(name))

    def list(self, **_: Any) -> list[Connection]:
        return [self.get(name) for name in names_at_hand()]

    def create_or_update(self, connection: Any, **_: Any) -> Connection:
        raise _refused("connections.create_or_update", "phoundry connection create -f FILE")

    def delete(self, name: str) -> None:
        raise _refused("connections.delete", f"phoundry connection delete {name}")


class PFClient:
    """`PFClient().test(flow=…, inputs={…})` runs a flow; runs over data are a command."""

    def __init__(self, **_: Any) -> None:
        self.connections = ConnectionOperations()

    def test(
        self,
        flow: Any,
        *,
        inputs: Mapping[str, Any] | None = None,
        variant: str | None = None,
        node: str | None = None,
        environment_variables: Mapping[str, Any] | None = None,
        init: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> Any:
        """The outputs of one run of the flow in the folder or file `flow`, or of a function.

        Raises:
            FlowError: the flow does not load or fails.
            NotSupported: a single node.
        """
        if node is not None:
            raise _refused("test(node=…)", f"phoundry flow test FLOW --node {node}")
        with applied(environment_variables or {}, {}):
            if callable(flow):
                return flow(**(inputs or {}))
            if Path(flow).suffix == ".prompty":
                return Prompty.load(flow, **(init or {}))(**(inputs or {}))
            found = LoadedFlow(Path(flow).resolve(), init)
            found.context.variant = variant
            return found(**(inputs or {}))

    def __getattr__(self, name: str) -> Any:
        if name in INSTEAD:
            raise _refused(name, INSTEAD[name])
        raise AttributeError(f"PFClient has no '{name}'.")


def _refused(name: str, command: str) -> NotSupported:
    return NotSupported(
        f"PFClient().{name} is not done inside a flow's process, which has no store.",
        remedy=f"Use the command: {command}; or do it in a script beside the flow: "
        "python -m phoundry.promptflow SCRIPT",
    )
