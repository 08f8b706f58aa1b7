"""Prompt flow's connection YAML, of both shapes.

A custom connection has `configs:` and `secrets:`, and beside them the class that it stands for, if
any. A strong-typed one (`type: open_ai`) has its values at the top: `api_key` is a secret, the
others are not.
"""

from __future__ import annotations

from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any, cast

from phoundry.errors import Fault, InvalidInput, nearest
from phoundry.specs import yaml
from phoundry.specs.connection_types import KINDS, STRONG_TYPE_KEYS, kind_named

PLAIN_KEYS = frozenset({"$schema", "name", "type", "configs", "secrets"})
# What `pf connection show` prints beside the values: a file made of it is read again.
SHOWN_KEYS = frozenset({"module", "created_date", "last_modified_date", "expiry_time"})


def read_connection(path: Path) -> dict[str, Any]:
    """`{"name"?, "type"?, "configs", "secrets"}` of a file, ready for `ConnectionSpec`.

    Raises:
        NotFound, InvalidInput: as `specs.yaml.load`, with lines.
    """
    return connection_values(str(path), yaml.load_document(path))


def connection_values(path: str, document: Any) -> dict[str, Any]:
    """As `read_connection`, of a document that was read already; `path` is for messages."""
    kind = KINDS.get(kind_named(str(document.get("type") or "custom")), KINDS["custom"])
    names = STRONG_TYPE_KEYS if kind is KINDS["custom"] else dict[str, str]()
    # Some fields are written where their type has none, such as the api_version of OpenAI's.
    others = () if names else (name for item in KINDS.values() for name in item.configs)
    movable = (*kind.configs, *kind.secrets, *names, *others)
    moved = [key for key in document if key in movable and document[key] is not None]
    values: dict[str, Any] = {
        key: document[key] for key in document if key not in movable and key not in SHOWN_KEYS
    }
    for section in ("configs", "secrets"):
        values[section] = _texts(path, document, section)
    for key in moved:
        where = "secrets" if key in kind.secrets else "configs"
        values[where][names.get(key, key)] = _text(document[key])
    unknown = [key for key in values if key not in PLAIN_KEYS]
    if unknown:
        _refuse(path, document, unknown, {*PLAIN_KEYS, *movable})
    return values


def _texts(path: str, document: Any, section: str) -> dict[str, str]:
    """The `name: value` lines of a section. No value is ever quoted: it may be a secret."""
    content: Any = document.get(section)
    if content is None:
        return {}
    plain = (str, int, float, date)  # api_version is written as a date
    if isinstance(content, dict):
        lines = cast(dict[Any, Any], content)
        if all(isinstance(k, str) and isinstance(v, plain) for k, v in lines.items()):
            return {key: _text(value) for key, value in lines.items()}
    where = f"{path}:{yaml.line_of(document, (section,))}"
    raise InvalidInput(
        f"{path} cannot be used.",
        faults=[Fault(where, f"`{section}` does not hold `name: value` lines of plain text alone")],
    )


def _text(value: Any) -> str:
    """`value` as it stands in the file: a key 007 or 1_000 that YAML reads as a number is text
    here, and has to stay what it is."""
    if type(value).__module__.partition(".")[0] == "ruamel":
        from ruamel.yaml import YAML

        stream = StringIO()
        YAML().dump(value, stream)  # type: ignore[reportUnknownMemberType]
        return stream.getvalue().partition("\n")[0]
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refuse(path: str, document: Any, unknown: list[str], known: set[str]) -> None:
    faults: list[Fault] = []
    for key in unknown:
        near = nearest(key, known)
        hint = f"; did you mean {near[0]}?" if near else ""
        faults.append(
            Fault(f"{path}:{yaml.line_of(document, (key,))}", f"unknown key '{key}'{hint}")
        )
    raise InvalidInput(f"{path} cannot be used.", faults=faults)
