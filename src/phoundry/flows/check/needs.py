"""What a flow needs beside its files: connections, variables of the environment, includes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from phoundry.errors import nearest
from phoundry.flows.check.draft import Draft
from phoundry.flows.check.finding import Notes
from phoundry.flows.document import Place, is_list, is_mapping
from phoundry.flows.environment import CONNECTION_KEY
from phoundry.flows.errors import FlowError
from phoundry.flows.extensions.environment import VARIABLE
from phoundry.flows.includes import is_there
from phoundry.flows.signature import Signature
from phoundry.settings import child_environ

if TYPE_CHECKING:
    from phoundry.flows.connections import Wanted
    from phoundry.specs.connection import Connection

CREATE = "Make it with `phoundry connection create NAME`, or choose one: --connections {}=NAME"


def _nothing() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Known:
    """Where to look for the connections of this home, and for those remembered for the flow
    (`node.input` to name). Asked only when the flow takes a connection.

    `available` None: nobody looks, so nothing is said about connections.
    """

    available: Callable[[], Sequence[Connection]] | None = None
    remembered: Callable[[], Mapping[str, str]] = _nothing


def check_needs(
    draft: Draft, notes: Notes, signatures: Mapping[str, Signature], known: Known
) -> None:
    _includes(draft, notes)
    check_variables(notes)
    _connections(draft, notes, signatures, known)


def _includes(draft: Draft, notes: Notes) -> None:
    content = draft.document.data.get("additional_includes")
    for index, item in enumerate(content if is_list(content) else []):
        if not is_there(draft.flow.root / str(item)):
            notes.error(
                "InvalidSource",
                f"Unable to find additional include {item}.",
                *("additional_includes", index),
                remedy="Correct the path (it is relative to the flow's folder) or drop the line.",
            )


def check_variables(notes: Notes) -> None:
    """Every `${env:VARIABLE}` of the file is set, or has a default."""
    environ = child_environ()
    for at, text in _texts(notes.document.data, ()):
        for name, default in _variables(text):
            if name not in environ and default is None:
                notes.error(
                    "EnvironmentVariableMissing",
                    f"The environment variable '{name}' is not set.",
                    *at,
                    remedy=f"Set it, or write a default: ${{env:{name}:-text}}",
                    setup=True,
                )


def _variables(text: str) -> Iterator[tuple[str, str | None]]:
    for match in VARIABLE.finditer(text):
        yield match[1], match[2]


def _texts(value: Any, at: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        yield at, value
    elif is_mapping(value):
        for key, item in value.items():
            yield from _texts(item, (*at, key))
    elif is_list(value):
        for index, item in enumerate(value):
            yield from _texts(item, (*at, index))


def _connections(
    draft: Draft, notes: Notes, signatures: Mapping[str, Signature], known: Known
) -> None:
    from phoundry.flows.connections import wanted_connections

    try:
        wanted = wanted_connections(replace(draft.flow, signatures=signatures))
    except FlowError as error:  # of an inner flow
        notes.error(error.code, error.message, "nodes", remedy=error.remedy)
        return
    variables = {
        name: match[1]
        for name, value in draft.flow.environment_variables.items()
        if isinstance(value, str) and (match := CONNECTION_KEY.match(value)) and match[1] != "env"
    }
    if known.available is None or not (wanted or variables):
        return
    by_name = {item.name: item for item in known.available()}
    remembered = known.remembered()
    for item in wanted:
        name = item.written or remembered.get(item.place)
        if name is not None:
            _named(draft, notes, item, name, by_name)
        elif not item.optional:
            _unset(draft, notes, item, list(by_name.values()))
    for variable, name in variables.items():
        if name not in by_name:
            _missing(notes, ("environment_variables", variable), name, by_name, None, variable)


def _named(
    draft: Draft, notes: Notes, item: Wanted, name: str, known: Mapping[str, Connection]
) -> None:
    at = _place(draft, item)
    found = known.get(name)
    if found is None:
        _missing(notes, at, name, known, item.node, item.place)
    elif not item.fits(found):
        wants = " or ".join(item.classes)
        notes.warning(
            "InvalidConnectionType",
            f"The connection '{name}' ({found.type}) may not fit {item.place}, which takes a "
            f"{wants} with the keys it reads.",
            *at,
            node=item.node,
            remedy=f"Choose another: --connections {item.place}=NAME",
            setup=True,
        )


def _missing(
    notes: Notes,
    at: Place,
    name: str,
    known: Mapping[str, Connection],
    node: str | None,
    place: str,
) -> None:
    near = nearest(name, known)
    hint = f"Did you mean {near[0]}? " if near else ""
    notes.error(
        "GetConnectionError",
        f"There is no connection '{name}'.",
        *at,
        node=node,
        remedy=hint + CREATE.format(place),
        setup=True,
    )


def _unset(draft: Draft, notes: Notes, item: Wanted, available: Sequence[Connection]) -> None:
    fitting = sorted(connection.name for connection in available if item.fits(connection))
    if len(fitting) == 1:
        return
    told = f"several fit: {', '.join(fitting)}" if fitting else "none fits"
    notes.error(
        "GetConnectionError",
        f"{item.place} names no connection ({' or '.join(item.classes)}), and {told}.",
        *_place(draft, item),
        node=item.node,
        remedy=CREATE.format(item.place),
        setup=True,
    )


def _place(draft: Draft, item: Wanted) -> Place:
    bodies = [body for body in draft.named(item.node) if body.chosen]
    at = bodies[0].at if bodies else ()
    return (*at, "connection") if item.input == "connection" else (*at, "inputs", item.input)
