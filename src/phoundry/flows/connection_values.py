"""The values of connections, as a run of a flow takes them."""

from __future__ import annotations

import os
import re
from typing import Any, Protocol

from phoundry.errors import Conflict, NotFound
from phoundry.flows.errors import GetConnectionError
from phoundry.specs.connection import Connection, ConnectionValues

ENVIRONMENT = re.compile(r"^\s*\$\{env:(.+)\}\s*$")


class NoConnection(NotFound, GetConnectionError):
    """There is none of that name, or none that fits. It has Prompt flow's code."""

    code = "GetConnectionError"


class SeveralConnections(Conflict, GetConnectionError):
    """Several fit, and none is named; Prompt flow stops where none is named."""

    code = "GetConnectionError"


class ConnectionResolver(Protocol):
    """Where connections come from: the store's service, or a test's dictionary."""

    def list(self) -> list[Connection]:
        """Every connection there is, secrets hidden."""
        ...

    def values(self, name: str) -> ConnectionValues:
        """The values of one, secrets included.

        Raises:
            NotFound: there is none of that name.
        """
        ...


class Asked:
    """A resolver that is asked once for each name."""

    def __init__(self, resolver: ConnectionResolver) -> None:
        self._resolver = resolver
        self._found: dict[str, ConnectionValues | None] = {}

    def has(self, name: str) -> bool:
        if name not in self._found:
            try:
                self._found[name] = self._resolver.values(name)
            except NotFound:
                self._found[name] = None
        return self._found[name] is not None

    def values(self, name: str) -> dict[str, Any]:
        """Raises NotFound where there is none."""
        found = self._found.get(name) or self._resolver.values(name)
        return expanded(found.model_dump() | {"name": name})


def expanded(values: dict[str, Any]) -> dict[str, Any]:
    """`values` of a connection with `${env:VAR}` replaced by the variable.

    Raises:
        GetConnectionError: it is not set; every one that is not.
    """
    missing: list[str] = []

    def of(text: str) -> str:
        variable = ENVIRONMENT.match(text)
        if variable is None:
            return text
        if variable[1] not in os.environ:
            missing.append(variable[1])
        return os.environ.get(variable[1], "")

    found = {
        section: {key: of(text) for key, text in values[section].items()}
        for section in ("configs", "secrets")
    }
    if missing:
        raise GetConnectionError(
            f"The connection '{values['name']}' takes {', '.join(missing)} from the environment, "
            "where it is not set.",
            remedy=f"Set it: export {missing[0]}=…",
        )
    return {**values, **found}
