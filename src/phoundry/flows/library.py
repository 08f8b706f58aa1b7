"""Flows as functions of a Python program: `load_flow(path)(question="…")`.

::

    from phoundry.flows import load_flow

    flow = load_flow("my-flow")
    flow(question="When is a permit needed?")              # {"answer": "…"}
    await flow.acall(question="When is a permit needed?")  # the same, awaited

    ask = flow.using({"faq": {"api_base": "http://127.0.0.1:7411/v1", "key": "${env:FAQ_KEY}"}})
    ask(question="…")

No server, no database, no torch: a flow's tools run in this process, because the caller asked for
it. Their working directory and import path are the flow's meanwhile, and both come back. For code
that must not harm its caller, `FlowSession` runs a flow in a process of its own, with limits.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from phoundry.errors import Conflict, NotFound
from phoundry.flows.executor import surroundings
from phoundry.flows.prepare import Connections
from phoundry.flows.runner import Runner, open_runner

if TYPE_CHECKING:
    from phoundry.flows.connections import ConnectionResolver
    from phoundry.flows.model import Flow
    from phoundry.specs.connection import Connection, ConnectionValues

PlainConnections = Mapping[str, Mapping[str, Any]]
PATIENCE = 600.0  # seconds that a flow waits for another one's runs to end


class FlowFunction:
    """A flow with its connections, called with its inputs; its tools are imported once.

    Calls may overlap, in threads or awaited. Runs of different flows at the same time wait for
    each other, because a process has one working directory.
    """

    def __init__(
        self, flow: Flow, connections: Connections, init: Mapping[str, Any] | None = None
    ) -> None:
        self.flow = flow
        self._connections, self._init = connections, init
        self._runner: Runner | None = None
        self._lock = threading.Lock()

    def __call__(self, **inputs: Any) -> dict[str, Any]:
        """The outputs of a run with `inputs`.

        Raises:
            FlowError: the flow does not load or a node fails.
        """
        with _inside(self):
            with self._lock:
                if self._runner is None:
                    self._runner = open_runner(self.flow, self._connections, self._init)
            outcome = self._runner.run(inputs)
        if outcome.error is not None:
            raise outcome.error
        return outcome.output or {}

    async def acall(self, **inputs: Any) -> dict[str, Any]:
        """The same, awaited: the run has a thread of its own, and the event loop goes on.

        A run that is cancelled is not waited for; its thread ends when the run does.

        Raises:
            FlowError: the flow does not load or a node fails.
        """
        return await asyncio.to_thread(self, **inputs)

    def around(self) -> AbstractContextManager[None]:
        """What its code expects of the process."""
        return surroundings(self.flow, self._connections)

    def shares(self, other: FlowFunction) -> bool:
        """Whether `other` expects the same."""
        return self._expects() == other._expects()

    def _expects(self) -> tuple[Any, ...]:
        flow = self.flow
        return (
            flow.root,
            flow.additional_includes,
            flow.environment_variables,
            self._connections.values,
        )


def bound(
    flow: Flow,
    connections: ConnectionResolver | PlainConnections,
    overrides: Mapping[str, str] | None = None,
    init: Mapping[str, Any] | None = None,
) -> FlowFunction:
    """`flow` with `connections`; see `Flow.using`."""
    from phoundry.flows.connections import resolved

    resolver = Plain(connections) if isinstance(connections, Mapping) else connections
    return FlowFunction(flow, resolved(flow, resolver, {}, overrides or {}, init), init)


class Plain:
    """A `ConnectionResolver` over `{name: values}` as Prompt flow's connection YAML has them:
    `{"type": "open_ai", "api_key": …}`, or `{"configs": {…}, "secrets": {…}}` for a custom one,
    whose other keys are secret where they sound so (`key`, `token`, `secret`, `password`).

    Raises (when asked):
        InvalidInput: values that no connection has.
    """

    def __init__(self, values: PlainConnections) -> None:
        self._given = dict(values)

    def list(self) -> list[Connection]:
        from datetime import UTC, datetime

        from phoundry.specs.connection import HIDDEN, Connection

        now = datetime.now(UTC)
        return [
            Connection(
                name=each.name,
                type=each.type,
                configs=each.configs,
                secrets=dict.fromkeys(each.secrets, HIDDEN),
                created_at=now,
                updated_at=now,
            )
            for each in map(self.values, self._given)
        ]

    def values(self, name: str) -> ConnectionValues:
        from phoundry.specs.connection import ConnectionSpec, ConnectionValues
        from phoundry.specs.connection_file import connection_values

        if name not in self._given:
            raise NotFound.named("connection", name, self._given)
        read = connection_values(f"connection '{name}'", _sectioned(self._given[name]))
        spec = ConnectionSpec.model_validate({**read, "name": name})
        secrets = {key: value.get_secret_value() for key, value in spec.secrets.items()}
        return ConnectionValues(name=name, type=spec.type, configs=spec.configs, secrets=secrets)


_SECRET = ("key", "token", "secret", "password")


def _sectioned(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with the loose keys of a custom connection in `configs` and `secrets`."""
    from phoundry.specs.connection_types import kind_named

    given = dict(values)
    if kind_named(str(given.get("type", "custom"))) != "custom":
        return given
    found: dict[str, Any] = {"type": "custom"}
    for section in ("configs", "secrets"):
        found[section] = dict(cast("Mapping[str, Any]", given.pop(section, None) or {}))
    given.pop("type", None)
    for name, value in given.items():
        secret = any(word in name.lower() for word in _SECRET)
        found["secrets" if secret else "configs"][name] = str(value)
    return found


class _Process:
    """Which flow's surroundings this process has, for how many runs."""

    changed = threading.Condition()
    owner: FlowFunction | None = None
    runs = 0
    around: AbstractContextManager[None] | None = None


_running: ContextVar[Sequence[FlowFunction]] = ContextVar("running", default=())


@contextmanager
def _inside(function: FlowFunction) -> Generator[None]:
    """The surroundings of `function`, shared by all its runs. A flow that a tool calls has its own
    within those of the flow that it is called from."""
    outer = _running.get()
    token = _running.set((*outer, function))
    try:
        if outer and function.shares(outer[-1]):
            yield
        elif outer:
            with function.around():
                yield
        else:
            _enter(function)
            try:
                yield
            finally:
                _leave()
    finally:
        _running.reset(token)


def _enter(function: FlowFunction) -> None:
    with _Process.changed:
        free = _Process.changed.wait_for(
            lambda: _Process.owner is None or function.shares(_Process.owner), timeout=PATIENCE
        )
        if not free:
            raise Conflict(
                f"Another flow has been running in this process for {PATIENCE:g} seconds.",
                remedy="Flows that run for so long, or call each other from threads of their own, "
                "run beside each other in sessions: phoundry.flows.FlowSession.",
            )
        if _Process.owner is None:
            around = function.around()
            around.__enter__()
            _Process.owner, _Process.around = function, around
        _Process.runs += 1


def _leave() -> None:
    with _Process.changed:
        _Process.runs -= 1
        if _Process.runs == 0 and _Process.around is not None:
            around, _Process.owner, _Process.around = _Process.around, None, None
            around.__exit__(None, None, None)
            _Process.changed.notify_all()
