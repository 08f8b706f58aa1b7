"""Putting a flow behind an address, over this home's connections."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from phoundry.errors import InvalidInput, NotFound, UsageError
from phoundry.files import PRIVATE, write_atomic
from phoundry.serving.flow.opening import THREADS, TIMEOUT, Opening
from phoundry.settings import Home, Settings

if TYPE_CHECKING:
    from phoundry.flows import ConnectionResolver, Flow
    from phoundry.flows.prepare import Connections
    from phoundry.serving.flow.build import Built
    from phoundry.serving.flow.build import Format as BuildFormat
    from phoundry.serving.flow.supervisor import Supervisor

SHORTEST_KEY = 16  # characters


@dataclass(frozen=True, slots=True)
class Serving:
    """What `phoundry flow serve` is asked for. `overrides` are `node.input` to connection name."""

    path: Path
    host: str = "127.0.0.1"
    port: int = 8080
    overrides: Mapping[str, str] = field(default_factory=dict[str, str])
    connections_dir: Path | None = None
    init: Mapping[str, Any] = field(default_factory=dict[str, Any])
    variant: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    workers: int = 1
    threads: int = THREADS
    timeout: float = TIMEOUT
    key_file: Path | None = None
    static: Path | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """A flow that answers. `key_at` says in words where the key is, if one is needed."""

    flow: Flow
    address: str
    key_at: str | None
    supervisor: Supervisor

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._stop)
        self.supervisor.run()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.supervisor.ask_to_stop()


@contextmanager
def serving(
    asked: Serving,
    *,
    note: Callable[[str], None] = lambda text: None,
    log: Callable[[str], None] = lambda text: None,
) -> Generator[Served]:
    """The flow `asked.path` behind its address for the length of the block.

    `note` gets narration, `log` what the flow's code prints, secrets hidden.

    Raises:
        NotFound, FlowError: no flow there, or a faulty one.
        UsageError, InvalidInput: an address that is none, a key that is too short.
        InsufficientResources: the port is taken.
        PhoundryError: a connection is missing, or several fit.
    """
    from phoundry.client.traces import keeper_of_requests
    from phoundry.flows import load_flow
    from phoundry.flows.environments.use import interpreter_for
    from phoundry.flows.session.memory import memory_of_machine
    from phoundry.serving.flow.supervisor import Supervisor
    from phoundry.serving.listen import LOOPBACK, listening, port_of

    flow = load_flow(asked.path, variant=asked.variant)
    static = _static(asked.static)
    key, key_at = _key(asked, needed=asked.host not in LOOPBACK)
    found = _connections(flow, asked)
    python = interpreter_for(flow, Home.current(), note)
    listener = listening(asked.host, asked.port)
    shown = "127.0.0.1" if asked.host in ("0.0.0.0", "::", "localhost") else asked.host  # noqa: S104
    address = f"http://{f'[{shown}]' if ':' in shown else shown}:{port_of(listener)}"
    keep = keeper_of_requests(Home.current(), flow)
    opening = Opening(
        path=str(flow.file.resolve()),
        variant=asked.variant,
        chosen=found.chosen,
        values=found.values,
        overrides=found.overrides,
        environment=asked.environment,
        init=asked.init,
        key=key,
        static=static,
        feedback=str(Home.current().root / "feedback" / f"{flow.root.resolve().name}.jsonl"),
        memory_limit=memory_of_machine(),
        timeout=asked.timeout,
        threads=asked.threads,
        python=python,
        traced=keep is not None,
    )
    try:
        supervisor = Supervisor(
            opening,
            listener,
            workers=asked.workers,
            note=note,
            log=log,
            trace=keep or (lambda told: None),
        )
        supervisor.start()
        try:
            yield Served(flow, address, key_at, supervisor)
        finally:
            supervisor.stop()
    finally:
        listener.close()


def build_folder(
    path: Path,
    output: Path,
    *,
    kind: BuildFormat = "docker",
    overrides: Mapping[str, str] | None = None,
    variant: str | None = None,
    init: Mapping[str, Any] | None = None,
) -> Built:
    """Write the folder `output`, from which the flow in `path` is served by itself. `init` are the
    arguments of a flex flow's class.

    Raises:
        NotFound, FlowError: no flow there, or a faulty one.
        Conflict: `output` is there and holds something.
        UsageError: `init` of a flow that takes none, or with a secret.
        PhoundryError: a connection is missing, or several fit.
    """
    from phoundry.flows import load_flow
    from phoundry.serving.flow.arguments import check_kept
    from phoundry.serving.flow.build import build

    flow = load_flow(path, variant=variant)
    given = dict(init or {})
    check_kept(flow, given)
    found = _connections(flow, Serving(path, overrides=overrides or {}, init=given))
    target = output.expanduser().absolute()
    return build(flow, found, target, kind=kind, variant=variant, init=given)


def _connections(flow: Flow, asked: Serving) -> Connections:
    """What the flow is opened with; what was chosen from this home is remembered."""
    from phoundry.flows.connections import needs_connections, resolved
    from phoundry.flows.environment import connection_names
    from phoundry.flows.prepare import Connections
    from phoundry.serving.flow.connection_files import ConnectionFiles

    if asked.connections_dir is not None:
        files = ConnectionFiles(asked.connections_dir, os.environ)
        return resolved(flow, files, {}, asked.overrides, asked.init)
    named = connection_names(flow.environment_variables)
    if asked.overrides or named or needs_connections(flow, asked.init):
        return _of_home(flow, asked.overrides, asked.init)
    return Connections()  # no look into the store: it starts at once


def _of_home(
    flow: Flow, overrides: Mapping[str, str], init: Mapping[str, Any] | None = None
) -> Connections:
    from phoundry.client import Client
    from phoundry.flows.connections import resolved

    client = Client()
    resolver: ConnectionResolver = client.connections
    settings = client.flows.settings(flow.root)
    found = resolved(flow, resolver, settings.connections, overrides, init)
    if found.chosen and dict(found.chosen) != settings.connections:
        client.flows.remember(settings.model_copy(update={"connections": dict(found.chosen)}))
    return found


def _key(asked: Serving, *, needed: bool) -> tuple[str | None, str | None]:
    """The key that requests must carry, and where it is; a random one is made where one is needed
    and none is given, and kept in this home."""
    if asked.key_file is not None:
        try:
            text = asked.key_file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise NotFound(f"There is no file {asked.key_file}.") from None
        return _checked(text, str(asked.key_file)), str(asked.key_file)
    if given := Settings().flow_key:
        return _checked(given, "PHOUNDRY_FLOW_KEY"), "PHOUNDRY_FLOW_KEY"
    if not needed:
        return None, None
    home = Home.current()
    file = home.root / "flow-serve.key"
    if not file.exists():
        home.make()
        write_atomic(file, secrets.token_urlsafe(32) + "\n", mode=PRIVATE)
    return _checked(file.read_text(encoding="utf-8").strip(), str(file)), str(file)


def _checked(key: str, where: str) -> str:
    if len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidInput(
            f"The key in {where} can't be used: it has {len(key)} characters.",
            remedy=f"Take {SHORTEST_KEY} or more ASCII characters without spaces, such as those "
            "of: openssl rand -hex 24",
        )
    return key


def _static(folder: Path | None) -> str | None:
    if folder is None:
        return None
    if not folder.is_dir():
        raise UsageError(f"--static_folder: there is no folder {folder}.")
    return str(folder.resolve())
