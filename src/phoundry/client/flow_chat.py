"""A conversation with a flow: its history is kept here, and handed to the flow with every turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from phoundry.client.redirect import Redirected
from phoundry.errors import ModelError, PhoundryError, UsageError, from_dict
from phoundry.specs.flow import FlowResult

if TYPE_CHECKING:
    from phoundry.client.flows import Flows
    from phoundry.flows import ChatRoles, FlowSession


class FlowChat:
    """Ask a flow turn by turn. A context manager: the flow's process ends with it."""

    def __init__(
        self,
        flows: Flows,
        session: FlowSession,
        roles: ChatRoles,
        overrides: dict[str, str],
        redirected: Redirected | None = None,
    ) -> None:
        self._flows = flows
        self._session = session
        self._roles = roles
        self._overrides = overrides
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
        for piece in self._session.stream(inputs, overrides=self._overrides):
            if not isinstance(piece, FlowResult):
                said = True
                yield piece
                continue
            answer = self._take(piece, text)
            if not said:
                yield answer

    def _take(self, result: FlowResult, text: str) -> str:
        """The answer of a run that completed, which becomes a turn of the conversation."""
        if result.status == "Failed" or result.output is None:
            raise failure_of(result)
        if self._redirected and not self._redirected.used:
            raise UsageError(
                "This flow does not call a Phoundry endpoint, so there is nothing to compare.",
                remedy="Compare a flow whose connection leads to an endpoint of this machine.",
            )
        if not self._redirected:
            self._flows.keep_connections(self._session)
        answer = result.output.get(self._roles.output, "")
        self.history += self._roles.turns(text, answer)
        return answer if isinstance(answer, str) else str(answer)

    def reset(self) -> None:
        """Forget the conversation."""
        self.history = []

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> FlowChat:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def failure_of(result: FlowResult) -> PhoundryError:
    """The error that a failed run left."""
    if result.error:
        return from_dict(result.error)
    return ModelError("The flow failed without saying why.")
