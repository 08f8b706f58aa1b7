"""`environment_variables` of a flow: scalars as text, lists and objects as JSON,
`${connection.key}` as that key's value."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from phoundry.flows.errors import FlowDefinitionError, GetConnectionError

CONNECTION_KEY = re.compile(r"^\$\{([^.{}]+)\.([^{}]+)\}$")


def connection_names(variables: Mapping[str, Any]) -> set[str]:
    """The connections that `variables` refer to."""
    found = (CONNECTION_KEY.match(value) for value in variables.values() if isinstance(value, str))
    return {match[1] for match in found if match}


@contextmanager
def applied(
    variables: Mapping[str, Any], connections: Mapping[str, Mapping[str, Any]]
) -> Generator[None]:
    """The process environment with `variables` in it for the length of the block.

    `connections` is `{name: {"configs": …, "secrets": …}}`.

    Raises:
        GetConnectionError: a variable refers to a connection or key that is not there.
        FlowDefinitionError: a name or value that no variable can have.
    """
    texts = {str(name): _text(name, value, connections) for name, value in variables.items()}
    before = {name: os.environ.get(name) for name in texts}
    try:
        for name, text in texts.items():
            _set(name, text)
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _set(name: str, text: str) -> None:
    try:
        os.environ[name] = text
    except (ValueError, OSError):  # the value may be a secret: it is not shown
        raise FlowDefinitionError(
            f"The environment variable '{name}' can't be set.",
            remedy="A name is not empty and holds no `=`; neither name nor value holds `\\0`, or "
            "half of a character.",
        ) from None


def _text(name: str, value: Any, connections: Mapping[str, Mapping[str, Any]]) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    match = CONNECTION_KEY.match(value) if isinstance(value, str) else None
    if match is None:
        return str(value)
    values = connections.get(match[1], {})
    keys: dict[str, str] = {**values.get("configs", {}), **values.get("secrets", {})}
    if match[2] not in keys:
        raise GetConnectionError(
            f"The environment variable '{name}' takes '{match[2]}' from the connection "
            f"'{match[1]}', which has no such key.",
            remedy=f"Look at it with: phoundry connection show {match[1]}",
        )
    return keys[match[2]]
