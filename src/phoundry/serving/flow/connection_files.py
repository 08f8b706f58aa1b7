"""Connections from a folder of files, for a flow that is served without a home of Phoundry's.

A file is Prompt flow's connection YAML. `${env:NAME}` in a value is the variable of that name, so
that the files hold no secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from phoundry.errors import Fault, InvalidInput, NotFound
from phoundry.specs.connection import Connection, ConnectionSpec, ConnectionValues
from phoundry.specs.connection_file import read_connection

ENDPOINT = "endpoint:"
VARIABLE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


class ConnectionFiles:
    """The connections in `folder`: a `flows.ConnectionResolver`.

    Raises (when made):
        NotFound: there is no such folder.
        InvalidInput: a file is none, or a variable is not set; every fault is in it.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        if not folder.is_dir():
            raise NotFound(f"There is no folder {folder}.")
        self._found: dict[str, ConnectionValues] = {}
        faults: list[Fault] = []
        for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
            document = read_connection(file)
            missing = _missing(document, environ)
            faults += [Fault(str(file), f"the variable {name} is not set") for name in missing]
            if not missing:
                try:
                    values = _values(_filled({"name": file.stem} | document, environ))
                except ValidationError as error:  # its own text shows values, secrets among them
                    faults += [Fault(str(file), told) for told in _told(error)]
                else:
                    self._found[values.name] = values
        if faults:
            raise InvalidInput(
                "The connections can't be used.",
                faults=faults,
                remedy="Set the variables, correct the files, and start again.",
            )

    def list(self) -> list[Connection]:
        epoch = datetime.fromtimestamp(0, UTC)
        return [
            Connection(
                name=item.name,
                type=item.type,
                configs=item.configs,
                secrets=dict.fromkeys(item.secrets, "***"),
                created_at=epoch,
                updated_at=epoch,
            )
            for item in self._found.values()
        ]

    def values(self, name: str) -> ConnectionValues:
        if name not in self._found:
            raise NotFound.named("connection", name, self._found)
        return self._found[name]


def _values(document: dict[str, Any]) -> ConnectionValues:
    name = str(document["name"])  # a flow may ask for an endpoint of ours by `endpoint:NAME`
    spec = ConnectionSpec.model_validate({**document, "name": name.removeprefix(ENDPOINT)})
    secrets = {key: value.get_secret_value() for key, value in spec.secrets.items()}
    return ConnectionValues(name=name, type=spec.type, configs=spec.configs, secrets=secrets)


def _told(error: ValidationError) -> list[str]:
    """What is wrong, without the values."""
    details = error.errors(include_url=False, include_input=False, include_context=False)
    return [
        ": ".join([*map(str, item["loc"]), item["msg"].removeprefix("Value error, ")])
        for item in details
    ]


def _missing(value: Any, environ: Mapping[str, str]) -> list[str]:
    """Names of variables in `value` that are not set, each once."""
    if isinstance(value, dict):
        found = [name for item in value.values() for name in _missing(item, environ)]  # pyright: ignore[reportUnknownVariableType]
        return list(dict.fromkeys(found))
    return [name for name in VARIABLE.findall(str(value)) if not environ.get(name)]


def _filled(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, environ) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, str):
        return VARIABLE.sub(lambda match: environ[match[1]], value)
    return value
