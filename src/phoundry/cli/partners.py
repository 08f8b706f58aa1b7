"""Whom a chat is with: a flow, an endpoint, or a model that gets an endpoint while it lasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from phoundry.cli.output import Printer
from phoundry.cli.targets import endpoint_for
from phoundry.errors import UsageError

if TYPE_CHECKING:
    from phoundry.client import Client
    from phoundry.client.chat import EndpointChat
    from phoundry.client.flow_chat import FlowChat

FLOW_FILES = ("flow.dag.yaml", "flow.dag.yml")


class Partner(Protocol):
    """One side of a chat, which remembers the conversation."""

    @property
    def name(self) -> str: ...

    def ask(self, text: str) -> Iterator[str]: ...

    def reset(self) -> None: ...


class EndpointPartner:
    """An endpoint. The conversation is sent whole with every question."""

    def __init__(self, name: str, chat: EndpointChat, system: str | None) -> None:
        self.name = name
        self._chat = chat
        self._start = [{"role": "system", "content": system}] if system else []
        self._messages: list[dict[str, str]] = []

    def ask(self, text: str) -> Iterator[str]:
        question = {"role": "user", "content": text}
        said: list[str] = []
        for piece in self._chat.stream([*self._start, *self._messages, question]):
            said.append(piece)
            yield piece
        self._messages += [question, {"role": "assistant", "content": "".join(said)}]

    def reset(self) -> None:
        self._messages = []


class FlowPartner:
    """A flow. Its history is the flow's own."""

    def __init__(self, name: str, chat: FlowChat) -> None:
        self.name = name
        self._chat = chat

    def ask(self, text: str) -> Iterator[str]:
        return self._chat.ask(text)

    def reset(self) -> None:
        self._chat.reset()


def open_partners(
    client: Client,
    stack: ExitStack,
    out: Printer,
    *,
    target: str,
    compare: str | None,
    system: str | None,
    chat_input: str | None,
    chat_output: str | None,
    connections: Mapping[str, str],
) -> list[Partner]:
    """The partner that `target` names, and the one that `compare` names.

    What they need (a flow's process, an endpoint for a model) ends with `stack`.

    Raises:
        NotFound: nothing is called so; with the nearest names.
        UsageError: an option that does not go with the target.
    """
    if not is_flow(target):
        if chat_input or chat_output or connections:
            raise UsageError("--chat-input, --chat-output and --connections are for flows.")
        names = [target, compare] if compare else [target]
        found = [endpoint_for(client, stack, out, name) for name in names]
        return [
            EndpointPartner(name, client.chat(endpoint), system)
            for name, endpoint in zip(names, found, strict=True)
        ]
    if system:
        raise UsageError("--system is not for flows.", remedy="A flow's prompt says it.")
    partners: list[Partner] = []
    for other in (None, compare) if compare else (None,):
        redirect = None
        if other:
            from phoundry.client.redirect import target_of

            # A tool that posts to a scoring address reaches an endpoint, not a deployment of it.
            whole = client.flows.scores(target)
            endpoint = endpoint_for(client, stack, out, other, whole=whole)
            redirect = target_of(client.endpoints, endpoint)
        chat = client.flows.chat(
            target,
            overrides=connections,
            chat_input=chat_input,
            chat_output=chat_output,
            redirect=redirect,
        )
        stack.enter_context(chat)
        partners.append(FlowPartner(other or Path(target).name or target, chat))
    return partners


def is_flow(target: str) -> bool:
    """Whether `target` is a flow's folder or file."""
    path = Path(target).expanduser()
    if path.is_dir():
        return any((path / name).is_file() for name in FLOW_FILES)
    return path.is_file() and path.suffix in (".yaml", ".yml")
