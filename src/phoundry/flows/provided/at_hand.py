"""The connections that the running flow's own code may ask for by name: a prompty's, a model
configuration's, `PFClient().connections.get("…")`. They are the process's while the flow runs.

A script that is no flow has a home instead: `reaching` lets it ask there for what it names.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from phoundry.errors import NotFound, nearest
from phoundry.flows.errors import GetConnectionError

if TYPE_CHECKING:
    from phoundry.flows.connections import ConnectionResolver

# Not a context variable: threads that the user's code starts look here too.
_values: dict[str, Mapping[str, Any]] = {}
_homes: list[ConnectionResolver] = []


@contextmanager
def connections_at_hand(values: Mapping[str, Mapping[str, Any]]) -> Generator[None]:
    """Let `connection_values` find `values` as well for the length of the block."""
    before = dict(_values)
    _values.update(values)
    try:
        yield
    finally:
        _values.clear()
        _values.update(before)


@contextmanager
def reaching(home: ConnectionResolver) -> Generator[None]:
    """Let this process look up in `home` what is not at hand, for the length of the block. Never in
    a flow's own process, which has what its files name and no more."""
    _homes.append(home)
    try:
        yield
    finally:
        _homes.remove(home)


def names_at_hand() -> list[str]:
    return sorted(_values)


def connection_values(name: str) -> Mapping[str, Any]:
    """`{name, type, configs, secrets}` of a connection.

    Raises:
        GetConnectionError: it is not among those that the flow was started with.
    """
    if name not in _values:
        for home in _homes:
            try:
                return home.values(name).model_dump()
            except NotFound:
                continue
        near = nearest(name, _values)
        raise GetConnectionError(
            f"Connection '{name}' is not found.",
            remedy=(f"Did you mean {near[0]}? " if near else "")
            + "Write its name out in the flow's files, so that it is brought along, and make it "
            "with: phoundry connection create -f FILE",
        )
    return _values[name]


class AtHand:
    """The same as a `ConnectionResolver`, for a flow that is run by a flow."""

    def list(self) -> list[Any]:
        from datetime import UTC, datetime

        from phoundry.specs.connection import HIDDEN, Connection

        now = datetime.now(UTC)
        own = [
            Connection(
                name=name,
                type=item["type"],
                configs=dict(item["configs"]),
                secrets=dict.fromkeys(item["secrets"], HIDDEN),
                created_at=now,
                updated_at=now,
            )
            for name, item in _values.items()
        ]
        return own + [each for home in _homes for each in home.list() if each.name not in _values]

    def values(self, name: str) -> Any:
        from phoundry.specs.connection import ConnectionValues

        return ConnectionValues.model_validate(dict(connection_values(name)))
