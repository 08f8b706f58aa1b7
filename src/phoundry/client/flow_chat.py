"""A conversation with a flow: its history is kept here, and handed to the flow with every turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from phoundry.client.redirect import Redirected, Target, check_redirect
from phoundry.errors import ModelError, UsageError, from_dict
from phoundry.specs.flow import FlowResult, FlowSettings

if TYPE_CHECKING:
    from phoundry.client.connections import Connections
    from phoundry.flows import ChatRoles, Flow, FlowSession


class FlowChat:
    """Ask a flow turn by turn. A context manager: its process ends with it."""

    def __init__(
        self, session: FlowSession, roles: ChatRoles, redirected: Redirected | None = None
    ) -> None:
        self._session = session
        self._roles = roles
        self._redirected = redirected
        self.history: list[dict[str, Any]] = []

    def ask(self, text: str) -> Iterator[str]:
        """The answer to `text`, piece by piece where the flow streams.

        Raises:
            PhoundryError: the flow failed; the turn is not kept.
        """
        inputs: dict[str, Any] = {self._roles.input: text}
        if self._roles.history:
            inputs[self._roles.history] = self.history
        said = False
        for piece in self._session.stream(inputs):
            if isinstance(piece, FlowResult):
                answer = self._take(piece, text)
                if not said:
                    yield answer
            else:
                said = True
                yield piece

    def _take(self, result: FlowResult, text: str) -> str:
        if result.status == "Failed" or result.output is None:
            raise failure_of(result)
        if self._redirected and not self._redirected.used:
            raise UsageError(
                "This flow does not call a Phoundry endpoint, so there is nothing to compare.",
                remedy="Compare a flow whose connection leads to an endpoint of this machine.",
            )
        self.history.append({"inputs": {self._roles.input: text}, "outputs": result.output})
        return str(result.output.get(self._roles.output, ""))

    def reset(self) -> None:
        """Forget the conversation."""
        self.history = []

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> FlowChat:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def failure_of(result: FlowResult) -> Exception:
    """The error that a failed run left."""
    if result.error:
        return from_dict(result.error)
    return ModelError("The flow failed without saying why.")


def open_flow_chat(
    flow: Flow,
    roles: ChatRoles,
    settings: FlowSettings,
    connections: Connections,
    target: Target | None,
) -> FlowChat:
    """Start the flow's process, its connections led to `target` if there is one."""
    from phoundry.flows import FlowSession

    redirected = Redirected(connections, target) if target else None
    if target:
        check_redirect(_scoring_tools(flow), target)
    session = FlowSession(flow.root, connections=redirected or connections, settings=settings)
    return FlowChat(session, roles, redirected)


def _scoring_tools(flow: Flow) -> list[str]:
    """Nodes whose source is seen to read a connection's `endpoint`."""
    return [
        node
        for node, signature in flow.signatures.items()
        if any("endpoint" in parameter.keys for parameter in signature.parameters.values())
    ]
