"""The connections that the running flow's own code may ask for by name: a prompty's, a model
configuration's, `PFClient().connections.get("…")`. They are the process's while the flow runs."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from phoundry.errors import nearest
from phoundry.flows.errors import GetConnectionError

# Not a context variable: threads that the user's code starts look here too.
_values: dict[str, Mapping[str, Any]] = {}


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


def names_at_hand() -> list[str]:
    return sorted(_values)


def connection_values(name: str) -> Mapping[str, Any]:
    """`{name, type, configs, secrets}` of a connection.

    Raises:
        GetConnectionError: it is not among those that the flow was started with.
    """
    if name not in _values:
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
        return [
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

    def values(self, name: str) -> Any:
        from phoundry.specs.connection import ConnectionValues

        return ConnectionValues.model_validate(dict(connection_values(name)))
