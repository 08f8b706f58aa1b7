"""Flow folders: what is remembered of them, running them, chatting with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from phoundry.client.connections import Connections
from phoundry.client.transport import Transport
from phoundry.specs.flow import FlowSettings

if TYPE_CHECKING:
    from phoundry.client.flow_chat import FlowChat
    from phoundry.client.redirect import Target
    from phoundry.flows import Flow, FlowSession


class Flows:
    """`client.flows`. Nothing here needs a control plane."""

    def __init__(self, transport: Transport, connections: Connections) -> None:
        self._transport = transport
        self._connections = connections

    def init(
        self, path: Path | str, *, template: str = "chat", connection: str | None = None
    ) -> Path:
        """Make a flow folder from a template. Raises Conflict where the folder is not empty."""
        from phoundry.flows import init_flow

        folder = Path(path).expanduser().resolve()
        init_flow(folder, template=template, connection=connection)
        return folder

    def settings(self, path: Path | str) -> FlowSettings:
        """What is remembered of the flow in folder `path`."""
        params = {"path": str(Path(path).expanduser().resolve())}
        return self._transport.one(FlowSettings, "GET", "/api/flows/settings", params=params)

    def remember(self, settings: FlowSettings) -> FlowSettings:
        body = settings.model_dump(mode="json")
        return self._transport.one(FlowSettings, "PUT", "/api/flows/settings", json=body)

    def session(
        self,
        path: Path | str,
        *,
        connections: Mapping[str, str] | None = None,
        variant: str | None = None,
        timeout: float = 600,
    ) -> FlowSession:
        """A process that runs the flow in `path`, its connections chosen; close it after use.

        Args:
            connections: `node.input` to connection name; the choices are remembered.
            variant: `${node.variant}`.
            timeout: seconds that one run may take.

        Raises:
            NotFound, FlowError: no flow there, or a faulty one.
            PhoundryError: a connection is missing, or several fit.
        """
        from phoundry.flows import FlowSession, load_flow, needs_choices

        flow = load_flow(path, variant=variant)
        settings = FlowSettings(path=str(flow.root.resolve()))
        # A flow that needs no choice needs no look at what is remembered: it starts at once.
        if connections or needs_choices(flow):
            settings = self._choose(flow, self.settings(flow.root), connections or {})
        return FlowSession(path, connections=self._connections, settings=settings, timeout=timeout)

    def chat(
        self,
        path: Path | str,
        *,
        connections: Mapping[str, str] | None = None,
        chat_input: str | None = None,
        chat_output: str | None = None,
        redirect: Target | None = None,
    ) -> FlowChat:
        """A conversation with the flow in `path`; close it after use.

        Args:
            chat_input, chat_output: roles that the file leaves open; remembered.
            redirect: let the flow's connections lead to this endpoint instead, in this
                conversation only: what the same flow answers with another model.
        """
        from phoundry.client.flow_chat import open_flow_chat
        from phoundry.flows import chat_roles, load_flow

        flow = load_flow(path)
        settings = self._choose(flow, self.settings(flow.root), connections or {})
        roles = chat_roles(flow, settings, chat_input=chat_input, chat_output=chat_output)
        if chat_input or chat_output:
            chosen = {"chat_input": roles.input, "chat_output": roles.output}
            settings = self.remember(settings.model_copy(update=chosen))
        return open_flow_chat(flow, roles, settings, self._connections, redirect)

    def _choose(
        self, flow: Flow, settings: FlowSettings, overrides: Mapping[str, str]
    ) -> FlowSettings:
        """Settings with every connection chosen, remembered if something is new."""
        from phoundry.flows import choose_connections

        chosen = choose_connections(
            flow, self._connections.list(), settings.connections, dict(overrides)
        )
        if chosen != settings.connections:
            settings = self.remember(settings.model_copy(update={"connections": chosen}))
        return settings
