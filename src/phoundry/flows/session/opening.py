"""What a child is opened with, and what must never leave its parent in a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from phoundry.errors import tree
from phoundry.flows.errors import FlowError, UnexpectedError
from phoundry.flows.session.memory import memory_of_machine
from phoundry.flows.session.written import written_secrets

if TYPE_CHECKING:
    from phoundry.flows.model import Flow
    from phoundry.flows.prepare import Connections

HIDDEN_FROM = 4  # shorter secrets would blacken ordinary words


def opening(
    flow: Flow,
    connections: Connections,
    *,
    variant: str | None = None,
    init: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    memory_limit: int | None = None,
    traced: bool = False,
) -> dict[str, Any]:
    """The first request to a child. `environment` goes over the flow's own variables.
    `memory_limit` is in bytes; None: what this machine has, so
    that a runaway tool ends with its own error and not with somebody else's."""
    return {
        "op": "open",
        "path": str(flow.file),
        "variant": variant,
        "chosen": dict(connections.chosen),
        "values": {name: dict(item) for name, item in connections.values.items()},
        "overrides": dict(connections.overrides),
        "init": dict(init) if init else None,
        "environment": dict(environment) if environment else None,
        "memory_limit": memory_limit or memory_of_machine(),
        "trace": traced,
    }


def secrets_of(connections: Connections, flow: Flow, *given: Mapping[str, Any] | None) -> list[str]:
    """The texts that are `***` in messages, logs and traces: secrets of connections, those written
    in the flow's files, those `given` beside it by name (variables, arguments)."""
    texts = {text for item in connections.values.values() for text in item["secrets"].values()}
    texts |= written_secrets(flow.file, *given)
    return [text for text in texts if len(text) >= HIDDEN_FROM]


def as_error(body: Mapping[str, Any]) -> FlowError:
    """The error that a child reported, of the same class."""
    kind = tree().get(str(body.get("code")), UnexpectedError)
    kind = kind if issubclass(kind, FlowError) else UnexpectedError
    info: list[dict[str, Any]] = body.get("additionalInfo") or [{}]
    error = kind(
        str(body.get("message", "")),
        remedy=body.get("remedy"),
        where=body.get("where"),
        details=info[0].get("info"),
    )
    error.others = [as_error(other) for other in body.get("others") or ()]
    return error
