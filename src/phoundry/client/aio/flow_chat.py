"""Flows that run, awaited. Hand-written: a step that is cancelled must end the flow's process,
because nothing else ends what a tool of the flow waits for."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING, Any

from phoundry.client.aio.runner import stepped
from phoundry.client.aio.threads import in_thread
from phoundry.specs.flow import FlowResult

if TYPE_CHECKING:
    from phoundry.client.flow_chat import FlowChat
    from phoundry.flows import FlowSession


class AsyncFlowChat:
    """Ask a flow turn by turn. An async context manager: the flow's process ends with it."""

    def __init__(self, chat: FlowChat, give_back: Callable[[], None]) -> None:
        self._chat, self._give_back = chat, give_back
        self._lock = threading.Lock()

    @property
    def history(self) -> list[dict[str, Any]]:
        """The turns so far, as they are handed to the flow."""
        return self._chat.history

    def ask(self, text: str) -> AsyncGenerator[str]:
        """The answer to `text`, piece by piece where the flow streams.

        Raises:
            PhoundryError: the flow failed; the turn is not kept.
        """
        return stepped(self._chat.ask(text), lock=self._lock, abandon=self._chat.close)

    def reset(self) -> None:
        """Forget the conversation."""
        self._chat.reset()

    async def close(self) -> None:
        await in_thread(self._chat.close)
        self._give_back()

    async def __aenter__(self) -> AsyncFlowChat:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncFlowSession:
    """Runs of one flow. An async context manager: the flow's process ends with it."""

    def __init__(self, session: FlowSession, give_back: Callable[[], None]) -> None:
        self._session, self._give_back = session, give_back
        self._lock = threading.Lock()

    async def run(
        self,
        inputs: Mapping[str, Any],
        *,
        overrides: Mapping[str, str] | None = None,
        variant: str | None = None,
    ) -> FlowResult:
        """One run. A flow that fails, hangs or dies is a result with status Failed.

        Raises:
            NotFound, Conflict, UsageError: a connection is missing or must be chosen.
        """
        async for answer in self.stream(inputs, overrides=overrides, variant=variant):
            if isinstance(answer, FlowResult):
                return answer
        raise AssertionError("unreachable")

    def stream(
        self,
        inputs: Mapping[str, Any],
        *,
        overrides: Mapping[str, str] | None = None,
        variant: str | None = None,
    ) -> AsyncGenerator[str | FlowResult]:
        """The text of the chat output in pieces as they come, then the result."""
        answers = self._session.stream(inputs, overrides=overrides, variant=variant)
        return stepped(answers, lock=self._lock, abandon=self._session.close)

    def log(self) -> str:
        """What the flow's code printed and logged so far, secrets hidden."""
        return self._session.log()

    async def close(self) -> None:
        await in_thread(self._session.close)
        self._give_back()

    async def __aenter__(self) -> AsyncFlowSession:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
