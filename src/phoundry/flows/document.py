"""The flow's YAML as plain data, with the line of every key.

This room reads YAML itself instead of through `specs.yaml`: a session process starts for every
cold `flow test`, and pydantic alone would double its start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from phoundry.errors import NotFound
from phoundry.flows.errors import FlowDefinitionError, YamlError

Place = tuple[str | int, ...]
FILE_NAMES = ("flow.dag.yaml", "flow.dag.yml")


@dataclass(frozen=True, slots=True)
class Document:
    """`data` without ruamel's wrappers; `lines` by location, such as `("nodes", 0, "name")`."""

    file: Path
    data: dict[str, Any]
    lines: Mapping[Place, int]

    def line(self, *location: str | int) -> int:
        """1-based line of the innermost part of `location` that the file has; 0: unknown."""
        while location:
            if location in self.lines:
                return self.lines[location]
            location = location[:-1]
        return 0

    def where(self, *location: str | int) -> str:
        line = self.line(*location)
        return f"{self.file.name}:{line}" if line else self.file.name


def is_mapping(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether `value` is `key: value` lines."""
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def find_file(path: Path) -> Path:
    """The flow's file: `path` itself, or the one in the folder `path`.

    Raises:
        NotFound: there is none; the remedy says which names are looked for.
    """
    if path.is_file():
        return path.resolve()
    if not path.is_dir():
        raise NotFound(
            f"There is no flow at {path}.",
            remedy=f"Give the flow's folder or file, or make one: phoundry flow init {path}",
        )
    for name in FILE_NAMES:
        if (path / name).is_file():
            return (path / name).resolve()
    raise NotFound(
        f"{path} holds no flow: neither {' nor '.join(FILE_NAMES)} is in it.",
        remedy=f"Make one in an empty folder: phoundry flow init {path}/flow",
    )


def read_document(file: Path) -> Document:
    """The one mapping in `file`. Duplicate keys are an error, as they are for Prompt flow.

    Raises:
        YamlError: not UTF-8 or not YAML, with the line.
        FlowDefinitionError: something else than a mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        loaded: Any = YAML(typ="rt").load(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise YamlError(
            f"Error while parsing yaml file: {file} \n\n not UTF-8 at byte {error.start}",
            where=file.name,
        ) from None
    except (YAMLError, ValueError) as error:  # ruamel lets ValueError out of bad scalars
        mark: Any = error.problem_mark if isinstance(error, MarkedYAMLError) else None  # type: ignore[reportUnknownMemberType]
        place = f"{file.name}:{mark.line + 1}" if mark else file.name
        message = f"Error while parsing yaml file: {file} \n\n {error}"
        raise YamlError(message, where=place) from None
    if not isinstance(loaded, dict):
        raise FlowDefinitionError(
            f"{file.name} holds no mapping.",
            remedy="A flow has the keys `inputs`, `outputs` and `nodes`.",
            where=file.name,
        )
    lines: dict[Place, int] = {}
    return Document(file, _plain(loaded, (), lines), lines)


def _plain(value: Any, at: Place, lines: dict[Place, int]) -> Any:
    marks: dict[Any, Any] = getattr(getattr(value, "lc", None), "data", None) or {}
    if is_mapping(value):
        lines.update({(*at, key): marks[key][0] + 1 for key in value if key in marks})
        return {_scalar(key): _plain(item, (*at, key), lines) for key, item in value.items()}
    if is_list(value):
        lines.update({(*at, n): marks[n][0] + 1 for n in range(len(value)) if n in marks})
        return [_plain(item, (*at, n), lines) for n, item in enumerate(value)]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    """Without ruamel's subclasses, which remember how a number was written."""
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
