"""Flow folders: what is remembered of them, running them, chatting with them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.client.connections import Connections
from phoundry.client.traces import keeper
from phoundry.client.transport import Transport
from phoundry.client.waiting import on_stop
from phoundry.errors import UsageError
from phoundry.specs.flow import FlowResult, FlowSettings

if TYPE_CHECKING:
    from phoundry.client.flow_chat import FlowChat
    from phoundry.client.redirect import Target
    from phoundry.flows import Flow, FlowSession
    from phoundry.flows.check import Known, Report


class Flows:
    """`client.flows`. Nothing here needs a control plane."""

    def __init__(self, transport: Transport, connections: Connections) -> None:
        self._transport = transport
        self._connections = connections
        self.tell: Callable[[str], None] = logging.getLogger("phoundry.flows").info
        "Gets a line about each step when packages are installed for a flow."

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

    def run(
        self,
        path: Path | str,
        inputs: Mapping[str, Any],
        *,
        overrides: Mapping[str, str] | None = None,
        variant: str | None = None,
        init: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = 600,
    ) -> FlowResult:
        """Run the flow in `path` once. A flow that fails is a result with status Failed.

        Args:
            overrides: `node.input` to connection name, remembered; `node.model` to a model.
            variant: `${node.variant}`.
            init: the arguments of a flex flow's class.
            environment: variables over the flow's own; `${connection.key}` is that key's value.
            timeout: seconds.

        Raises:
            NotFound, FlowError: no flow there, or a faulty one.
            PhoundryError: a connection is missing, or several fit.
        """
        opened = self.session(
            path, variant=variant, init=init, environment=environment, timeout=timeout
        )
        with opened as session, on_stop(session.close):
            result = session.run(inputs, overrides=overrides, variant=variant)
            self.keep_connections(session)
        return result

    def session(
        self,
        path: Path | str,
        *,
        variant: str | None = None,
        init: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = 600,
    ) -> FlowSession:
        """A process that runs the flow in `path`, over this home's connections; close it."""
        from phoundry.flows import load_flow

        flow = load_flow(path, variant=variant)
        return self._session(flow, timeout, init=init, environment=environment)

    def validate(self, path: Path | str, *, connections: bool = True) -> Report:
        """Every fault of the flow in `path` with its place. Nothing of the flow runs.

        `connections`: whether those that it needs are looked for in this home, too.

        Raises:
            NotFound: there is no flow.
        """
        from phoundry.flows.check import check_flow

        return check_flow(path, self._known(connections)(Path(path)))

    def check(self, folders: Iterable[Path | str], *, connections: bool = True) -> list[Report]:
        """A report for every flow below `folders`, as `validate` gives it."""
        from phoundry.flows.check import check_tree

        return list(check_tree([Path(folder) for folder in folders], self._known(connections)))

    def set(self, path: Path | str, changes: Mapping[str, Any]) -> Path:
        """Set values in the file of the flow in `path`: `{"nodes.ask.inputs.temperature": 0.2}`.

        Comments, order, quotes and unknown keys stay. Gives the file.

        Raises:
            NotFound: no flow there, or a place leads through something that is not there.
            Conflict: a value can't be set without changing others.
        """
        from phoundry.flows.document import PROMPTY, find_file
        from phoundry.flows.editing import edit_file

        file = find_file(Path(path))
        if file.suffix == PROMPTY:
            raise UsageError(
                f"{file.name} is a prompty.", remedy="Change its front matter in an editor."
            )
        edit_file(file, list(changes.items()))
        return file

    def _known(self, wanted: bool) -> Callable[[Path], Known]:
        """What the validator may ask about connections; the store is opened when it does."""
        from phoundry.flows.check import Known

        if not wanted:
            return lambda _: Known()
        available = cache(self._connections.list)

        def known(path: Path) -> Known:
            folder = path if path.is_dir() else path.parent
            return Known(available, lambda: self.settings(folder).connections)

        return known

    def chat(
        self,
        path: Path | str,
        *,
        overrides: Mapping[str, str] | None = None,
        chat_input: str | None = None,
        chat_output: str | None = None,
        redirect: Target | None = None,
    ) -> FlowChat:
        """A conversation with the flow in `path`; close it after use.

        Args:
            overrides: as in `run`.
            chat_input, chat_output: roles that the file leaves open; remembered.
            redirect: let the flow's connections lead to this endpoint instead, in this
                conversation only: what the same flow answers with another model.
        """
        from phoundry.client.flow_chat import FlowChat
        from phoundry.client.redirect import Redirected, check_redirect
        from phoundry.flows import FlowSession, chat_roles, load_flow

        flow = load_flow(path)
        settings = self.settings(flow.root)
        roles = chat_roles(flow, settings, chat_input=chat_input, chat_output=chat_output)
        chosen = settings.model_copy(
            update={"chat_input": roles.input, "chat_output": roles.output}
        )
        if chat_input or chat_output:
            self.remember(chosen)
        if redirect:
            check_redirect(flow, redirect)
        redirected = Redirected(self._connections, redirect) if redirect else None
        session = FlowSession(
            flow,
            connections=redirected or self._connections,
            settings=chosen,
            keep=keeper(self._transport.home, flow),
            python=self.interpreter(flow),
        )
        return FlowChat(self, session, roles, dict(overrides or {}), redirected)

    def scores(self, path: Path | str) -> bool:
        """Whether a tool of the flow posts to a scoring address, which names no deployment."""
        from phoundry.client.redirect import scoring_node
        from phoundry.flows import load_flow

        return scoring_node(load_flow(path)) is not None

    def interpreter(self, flow: Flow) -> str | None:
        """The Python that runs `flow`, with an environment of its own where its requirements.txt
        asks for packages that are not here (made now if need be); None: this one.

        Raises:
            FlowError: the packages can't be installed.
        """
        from phoundry.flows.environments.use import interpreter_for

        return interpreter_for(flow, self._transport.home, self.tell)

    def keep_connections(self, session: FlowSession) -> None:
        """Remember the connections that a session chose, if they are news."""
        if session.connections and session.connections != session.settings.connections:
            settings = session.settings.model_copy(update={"connections": session.connections})
            session.settings = self.remember(settings)

    def _session(self, flow: Flow, timeout: float, **more: Any) -> FlowSession:
        from phoundry.flows import FlowSession
        from phoundry.flows.connections import wanted_connections

        more["keep"] = keeper(self._transport.home, flow)
        more["python"] = self.interpreter(flow)
        if wanted_connections(flow):
            settings = self.settings(flow.root)
            return FlowSession(
                flow, connections=self._connections, settings=settings, timeout=timeout, **more
            )
        # A flow that takes no connection needs no look into the store: it starts at once.
        bare = Unlisted(self._connections)
        return FlowSession(flow, connections=bare, timeout=timeout, **more)


class Unlisted:
    """Connections that are never chosen from; a flow's environment may still name one."""

    def __init__(self, connections: Connections) -> None:
        self.values = connections.values

    def list(self) -> list[Any]:
        return []
