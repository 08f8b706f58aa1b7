"""Which connection fills which input: named in the file, given, remembered, or the only one that
fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from phoundry.errors import NotFound, UsageError, nearest
from phoundry.flows.connection_values import (
    Asked,
    ConnectionResolver,
    NoConnection,
    SeveralConnections,
)
from phoundry.flows.environment import connection_names
from phoundry.flows.mentions import mentions
from phoundry.flows.model import Flow, Node
from phoundry.flows.prepare import Connections
from phoundry.flows.reference import Literal
from phoundry.specs.connection import Connection
from phoundry.specs.connection_types import KINDS

__all__ = [
    "ConnectionResolver",
    "Wanted",
    "choose_connections",
    "needs_connections",
    "resolved",
    "split_overrides",
    "wanted_connections",
]

LLM_SETTINGS = ("connection", "model", "deployment_name")
# What an llm node needs of a custom connection: an address and a key, under either name.
LLM_KEYS = (frozenset({"api_base", "base_url"}), frozenset({"key", "api_key"}))
# What `ConnectionSpec.to_endpoint` fills in.
OF_AN_ENDPOINT = frozenset({"endpoint", "key", "api_base", "model"})
TYPE_OF_CLASS = {kind.class_name: name for name, kind in KINDS.items()}
LLM_CLASSES = (
    "OpenAIConnection",
    "AzureOpenAIConnection",
    "ServerlessConnection",
    "CustomConnection",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An input that takes a connection: `keys` are alternatives, one of each set is needed."""

    node: str
    input: str
    classes: tuple[str, ...]
    keys: tuple[frozenset[str], ...] = ()
    written: str | None = None
    optional: bool = False

    @property
    def place(self) -> str:
        return f"{self.node}.{self.input}"

    def fits(self, connection: Connection) -> bool:
        have = connection.configs.keys() | connection.secrets.keys()
        if connection.type != "custom":
            return any(TYPE_OF_CLASS.get(name) == connection.type for name in self.classes)
        if "CustomConnection" not in self.classes and not self.keys:
            return False  # nothing tells whether it could stand in for another type
        return all(have & alternatives for alternatives in self.keys)


def wanted_connections(flow: Flow) -> list[Wanted]:
    """The inputs of `flow` that take a connection, in the file's order; those of a flow that a node
    runs are called `node.inner.input`.

    Raises:
        FlowError: an inner flow does not load, or there are too many.
    """
    return _wanted(flow, frozenset(), [])


def _wanted(flow: Flow, around: frozenset[Path], opened: list[Path]) -> list[Wanted]:
    """`around` are the files of the flows that run this one, `opened` all that were looked at."""
    found: list[Wanted] = []
    for node in flow.nodes:
        if node.type == "flow":
            found += _of_inner_flow(flow, node, around | {flow.file.resolve()}, opened)
            continue
        if node.type == "llm":
            found.append(
                Wanted(node.name, "connection", LLM_CLASSES, LLM_KEYS, node.connection or None)
            )
        found += _of_tool(flow, node)
    return found


def choose_connections(
    flow: Flow,
    available: Sequence[Connection],
    remembered: Mapping[str, str],
    overrides: Mapping[str, str],
    beside: Callable[[str], bool] = lambda name: False,
) -> dict[str, str]:
    """`{"node.input": connection name}` for every input of `flow` that takes one.

    An override wins, then the name in the file, then what is remembered, then the only connection
    that fits: of the right type, with the keys that the tool's source is seen to read. `beside`
    says whether a name that is no connection stands for one: that of an endpoint of ours.

    Raises:
        NotFound: a name that is no connection, or nothing fits; the remedy makes one.
        Conflict: several fit; the remedy chooses one.
        UsageError: an override of something that takes no connection.
    """
    wanted = wanted_connections(flow)
    known = {item.name: item for item in available}
    _check_places(wanted, overrides)
    chosen: dict[str, str] = {}
    for item in wanted:
        named = overrides.get(item.place) or item.written
        if named is not None:
            if named not in known and not beside(named):
                raise _missing(named, known, item)
            chosen[item.place] = named
        elif (kept := remembered.get(item.place)) and (kept in known or beside(kept)):
            chosen[item.place] = kept
        elif not item.optional:
            chosen[item.place] = _only(item, available)
    return chosen


def resolved(
    flow: Flow,
    resolver: ConnectionResolver,
    remembered: Mapping[str, str],
    overrides: Mapping[str, str],
    init: Mapping[str, Any] | None = None,
) -> Connections:
    """What a run of `flow` needs: the choice, its values, those that its files or `init` mention,
    and overrides of llm nodes. `${env:VAR}` in a value is this process's variable.

    Raises:
        NotFound, Conflict, UsageError: as `choose_connections` and `split_overrides`.
        GetConnectionError: a variable that a value is taken from is not set.
    """
    wanted, others = split_overrides(flow, overrides)
    available = resolver.list()
    asked = Asked(resolver)
    chosen = choose_connections(flow, available, remembered, wanted, asked.has)
    names = {*chosen.values(), *connection_names(flow.environment_variables)}
    mentioned = mentions(flow, init)
    known = {item.name for item in available}
    names |= mentioned.texts & known
    # What the code asks for by a name that nothing has is said when it asks.
    names |= {name for name in mentioned.named if name in known or asked.has(name)}
    return Connections(chosen, {name: asked.values(name) for name in sorted(names)}, others)


def needs_connections(flow: Flow, init: Mapping[str, Any] | None = None) -> bool:
    """Whether a run of `flow` may take a connection, so that the store must be asked."""
    return bool(wanted_connections(flow)) or bool(mentions(flow, init))


def split_overrides(
    flow: Flow, overrides: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Overrides of connections, and those of llm nodes' `model` and `deployment_name`.

    Raises:
        UsageError: a key is not `node.input` of a node of the flow.
    """
    connections: dict[str, str] = {}
    others: dict[str, str] = {}
    for key, value in overrides.items():
        place = key.removeprefix("${").removesuffix("}")
        name, _, setting = place.partition(".")
        node = flow.node(name)
        if node is None or not setting:
            near = nearest(name, [item.name for item in flow.nodes])
            hint = f"Did you mean {near[0]}.{setting or 'connection'}? " if near else ""
            raise UsageError(
                f"'{key}' is no input of a node of this flow.",
                remedy=f"{hint}Write NODE.INPUT=VALUE.",
            )
        last = setting.rpartition(".")[2] if node.type == "flow" else setting
        if node.type in ("llm", "flow") and last in ("model", "deployment_name"):
            others[place] = value
        else:
            connections[place] = value
    return connections, others


def _of_inner_flow(
    flow: Flow, node: Node, around: frozenset[Path], opened: list[Path]
) -> list[Wanted]:
    from phoundry.flows.extensions.subflow import refuse_too_many
    from phoundry.flows.load import load_flow

    file = flow.locate(node.source.path) if node.source and node.source.path else None
    if file is None or file.resolve() in around:
        return []  # a flow that runs itself has its connections already
    refuse_too_many(node.name, file, len(around) - 1, opened)
    inner = _wanted(load_flow(file), around, opened)
    return [replace(item, node=f"{node.name}.{item.node}") for item in inner]


def _of_tool(flow: Flow, node: Node) -> list[Wanted]:
    signature = flow.signatures.get(node.name)
    found: list[Wanted] = []
    for parameter in signature.parameters.values() if signature else ():
        if not parameter.connections:
            continue
        given = node.inputs.get(parameter.name)
        if given is not None and not isinstance(given, Literal):
            continue  # filled by another node or an input of the flow
        written = given.value if given is not None and given.value else None
        keys = tuple(frozenset({key}) for key in sorted(parameter.keys))
        found.append(
            Wanted(
                node.name,
                parameter.name,
                parameter.connections,
                keys,
                str(written) if written is not None else None,
                parameter.has_default,
            )
        )
    return found


def _check_places(wanted: Sequence[Wanted], overrides: Mapping[str, str]) -> None:
    places = [item.place for item in wanted]
    for place in overrides:
        if place not in places:
            near = nearest(place, places) or places
            hint = f"It has {', '.join(near)}." if near else "The flow takes no connection."
            raise UsageError(f"'{place}' takes no connection.", remedy=hint)


def _missing(name: str, known: Mapping[str, Connection], item: Wanted) -> NotFound:
    return NoConnection.named(
        "connection",
        name,
        known,
        remedy=f"Make it with `phoundry connection create -f FILE`, or choose another with "
        f"--connections {item.place}=NAME",
    )


def _only(item: Wanted, available: Sequence[Connection]) -> str:
    fitting = [connection.name for connection in available if item.fits(connection)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise SeveralConnections(
            f"Several connections fit {item.place}: {', '.join(sorted(fitting))}.",
            remedy=f"Choose one: --connections {item.place}={sorted(fitting)[0]}",
        )
    needs = ", ".join(" or ".join(sorted(keys)) for keys in item.keys)
    wants = f" with the keys {needs}" if needs else ""
    have = ", ".join(sorted(connection.name for connection in available)) or "none"
    raise NoConnection(
        f"No connection fits {item.place}: it needs a {' or '.join(item.classes)}{wants}. "
        f"Connections there are: {have}.",
        remedy="Make one with `phoundry connection create -f FILE` or "
        f"`phoundry connection create NAME {_flags(item)}`; or choose one: "
        f"--connections {item.place}=NAME",
    )


def _flags(item: Wanted) -> str:
    """The command's options for the keys that are needed; keys of secret kind by prompt."""
    if item.keys and all(keys & OF_AN_ENDPOINT for keys in item.keys):
        return "--endpoint ENDPOINT"
    names = [sorted(keys)[0] for keys in item.keys]
    return (
        " ".join(
            f"--secret {name}" if "key" in name or "token" in name else f"--set {name}=VALUE"
            for name in names
        )
        or "--set KEY=VALUE"
    )
