"""The flow's YAML as plain data, with the line of every key.

This room reads YAML itself instead of through `specs.yaml`: a session process starts for every
cold `flow test`, and pydantic alone would double its start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard, cast

from phoundry.errors import NotFound
from phoundry.flows.errors import FlowValidationError, NoMapping, NotUtf8, YamlError
from phoundry.flows.plain_yaml import Place, read_plain

FILE_NAMES = ("flow.dag.yaml", "flow.dag.yml")
FLEX_NAMES = ("flow.flex.yaml", "flow.flex.yml")
PROMPTY = ".prompty"
# A flow has some hundred lines. What is beyond these is a mistake, or means to use up the machine:
# aliases of aliases are few lines that stand for millions of values.
LARGEST = 1_000_000  # bytes
MOST_VALUES = 100_000  # with every alias written out
DEEPEST = 60  # lists and mappings inside each other


@dataclass(frozen=True, slots=True)
class Document:
    """`data` without ruamel's wrappers; `lines` and `columns`, from 1, by location, such as
    `("nodes", 0, "name")`. An alias has the place of what it stands for."""

    file: Path
    data: dict[str, Any]
    lines: Mapping[Place, int]
    columns: Mapping[Place, int] = field(default_factory=dict[Place, int])

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
        FlowValidationError: a folder with several flows.
    """
    if path.is_file():
        return path.resolve()
    if not path.is_dir():
        raise NotFound(
            f"There is no flow at {path}.",
            remedy=f"Give the flow's folder or file, or make one: phoundry flow init {path}",
        )
    found = [name for name in (*FILE_NAMES, *FLEX_NAMES) if (path / name).is_file()]
    if len(found) > 1:
        raise FlowValidationError(
            f"Multiple files {', '.join(found)} exist in {path}.",
            remedy=f"Name the file that you mean, such as {path / found[0]}, or remove one.",
        )
    found += sorted(item.name for item in path.glob(f"*{PROMPTY}")) if not found else []
    if not found:
        raise NotFound(
            f"{path} holds no flow: neither {', '.join(FILE_NAMES)}, {', '.join(FLEX_NAMES)} nor a "
            f"*{PROMPTY} file is in it.",
            remedy=f"Make one in an empty folder: phoundry flow init {path}/flow",
        )
    if found[0].endswith(PROMPTY) and len(found) > 1:
        raise NotFound(
            f"{path} holds several prompties: {', '.join(found)}.",
            remedy=f"Name the one that you mean, such as {path / found[0]}.",
        )
    return (path / found[0]).resolve()


def read_document(file: Path) -> Document:
    """The one mapping in `file`. Duplicate keys are an error, as they are for Prompt flow.

    Raises:
        YamlError: not UTF-8, not YAML (with the line), or beyond what a flow may hold.
        NoMapping: something else than a mapping.
    """
    if (size := file.stat().st_size) > LARGEST:
        raise _too_much(file, f"{size:,} bytes", f"{LARGEST:,}")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise NotUtf8(
            f"Error while parsing yaml file: {file} \n\n not UTF-8 at byte {error.start}",
            where=file.name,
        ) from None
    return parse_document(file, text)


def parse_document(file: Path, text: str) -> Document:
    """As `read_document`, of the YAML `text` that stands in `file`."""
    found = read_plain(text)
    if found is not None:
        if found.values > MOST_VALUES:
            raise _too_much_of(file)
        return Document(file, found.data, found.lines, found.columns)
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        loaded: Any = _yaml().load(text)
    except RecursionError:
        raise _too_much(file, "values inside each other without end", str(DEEPEST)) from None
    except (YAMLError, ValueError) as error:  # ruamel lets ValueError out of bad scalars
        mark: Any = error.problem_mark if isinstance(error, MarkedYAMLError) else None  # type: ignore[reportUnknownMemberType]
        place = f"{file.name}:{mark.line + 1}" if mark else file.name
        message = f"Error while parsing yaml file: {file} \n\n {error}"
        raise YamlError(message, where=place) from None
    if loaded is None:  # empty, or comments only: a flow of nothing
        loaded = {}
    if not isinstance(loaded, dict):
        raise NoMapping(
            f"{file.name} holds no mapping.",
            remedy="A flow has the keys `inputs`, `outputs` and `nodes`.",
            where=file.name,
        )
    reader = _Reader(file)
    data: Any = reader.plain(loaded, ())
    return Document(file, data, reader.lines, reader.columns)


def _yaml() -> Any:
    """A reader that ends at brackets without end: its time would grow with their square."""
    from ruamel.yaml import YAML
    from ruamel.yaml.scanner import RoundTripScanner

    class Scanner(RoundTripScanner):
        def save_possible_simple_key(self) -> None:
            if len(cast("list[str]", self.flow_context)) > DEEPEST:
                raise RecursionError
            super().save_possible_simple_key()

    reader: Any = YAML(typ="rt")
    reader.Scanner = Scanner
    reader.composer.warn_double_anchors = False  # the last one counts, as for Prompt flow
    return reader


class _Reader:
    """Turns ruamel's nodes into plain data, and keeps where every key and item stands."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines: dict[Place, int] = {}
        self.columns: dict[Place, int] = {}
        self.values = 0

    def plain(self, value: Any, at: Place) -> Any:
        self.values += 1
        if self.values > MOST_VALUES:
            raise _too_much_of(self.file)
        if len(at) > DEEPEST:
            raise _too_much(self.file, "values inside each other without end", str(DEEPEST))
        marks: dict[Any, Any] = getattr(getattr(value, "lc", None), "data", None) or {}
        if is_mapping(value):
            for key in value:
                self._mark((*at, key), marks.get(key))
            return {_scalar(key): self.plain(item, (*at, key)) for key, item in value.items()}
        if is_list(value):
            for number in range(len(value)):
                self._mark((*at, number), marks.get(number))
            return [self.plain(item, (*at, number)) for number, item in enumerate(value)]
        return _scalar(value)

    def _mark(self, at: Place, mark: Any) -> None:
        if mark is not None:
            self.lines[at], self.columns[at] = mark[0] + 1, mark[1] + 1


def _too_much_of(file: Path) -> YamlError:
    return _too_much(file, "more values than a flow can have", f"{MOST_VALUES:,}")


def _too_much(file: Path, found: str, limit: str) -> YamlError:
    return YamlError(
        f"{file.name} holds {found}; the limit is {limit}.",
        remedy="Keep data in files of its own, and let a tool of the flow read them.",
        where=file.name,
    )


def _scalar(value: Any) -> Any:
    """Without ruamel's subclasses, which remember how a number was written."""
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
