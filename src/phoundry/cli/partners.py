"""Whom a chat is with: a flow, an endpoint, or a model that gets an endpoint while it lasts."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from phoundry.cli.output import Printer
from phoundry.errors import ModelError, NotFound, UsageError, from_dict, nearest
from phoundry.specs.names import split_version

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

            redirect = target_of(client.endpoints, endpoint_for(client, stack, out, other))
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


def endpoint_for(client: Client, stack: ExitStack, out: Printer, name: str) -> str:
    """ENDPOINT or ENDPOINT/DEPLOYMENT that answers as `name`; a model may get one made."""
    endpoints = {each.name: each for each in client.endpoints.list()}
    base, slash, deployment = name.partition("/")
    if base in endpoints and not Path(name).is_dir():
        if slash and deployment not in endpoints[base].deployments:
            raise NotFound.named("deployment", name, endpoints[base].deployments)
        client.start()  # the gateway answers only while the control plane runs
        return name
    models = client.models.list()
    catalog = [each.name for each in client.models.catalog()]
    wanted, version = split_version(name)
    newest = next(
        (m.version for m in models if m.name == wanted and version in (None, m.version)), None
    )
    reference = f"{wanted}:{newest}" if newest else name
    if not newest and name not in catalog and not Path(name).is_dir():
        near = nearest(name, [*endpoints, *(each.name for each in models), *catalog])
        raise NotFound(
            f"There is no flow, endpoint or model '{name}'.",
            remedy=f"Did you mean {', '.join(near)}?" if near else "See `phoundry endpoint list`.",
        )
    for endpoint in endpoints:
        for each in client.deployments.list(endpoint):
            if each.model == reference and each.provisioning_state == "Succeeded":
                client.start()
                return f"{endpoint}/{each.name}"
    return _temporary(client, stack, out, reference)


def _temporary(client: Client, stack: ExitStack, out: Printer, model: str) -> str:
    """Deploy `model` behind an endpoint that is deleted when the chat ends."""
    from phoundry.client.checking import checked
    from phoundry.specs.deployment import DeploymentSpec
    from phoundry.specs.endpoint import EndpointSpec

    stem = re.sub(r"[^a-zA-Z0-9]+", "-", Path(model).name).strip("-")[:20]
    name = f"chat-{stem}-{secrets.token_hex(2)}"
    out.note(f"{model} is not deployed: it gets the endpoint {name} while this chat lasts …")
    endpoint = client.endpoints.create(checked(EndpointSpec, {"name": name}, "The endpoint"))
    stack.callback(client.endpoints.delete, endpoint.name)
    spec = {"name": "chat", "endpoint_name": name, "model": model}
    client.deployments.create(checked(DeploymentSpec, spec, "The deployment"))
    deployment = client.deployments.wait(name, "chat")
    if deployment.provisioning_state == "Failed":
        if deployment.error:
            raise from_dict(deployment.error)
        raise ModelError(f"{model} could not be deployed.")
    return name
