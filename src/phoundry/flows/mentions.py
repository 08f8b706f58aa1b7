"""Names that a flow's files mention where its own code may ask for a connection: a prompty's
`connection: NAME`, a model configuration's, `PFClient().connections.get("NAME")`.

The process that runs the flow has no store to ask, so it gets what is mentioned, and no more.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.flows.document import is_list, is_mapping
from phoundry.flows.model import Flow, FlowInput
from phoundry.flows.signature import CONNECTION_CLASSES

if TYPE_CHECKING:
    from phoundry.flows.flex.definition import FlexFlow

MOST_FILES = 300
LARGEST = 300_000  # bytes
SKIPPED = frozenset({"__pycache__", "node_modules", ".git", ".venv", "venv", ".promptflow"})
# Python that can ask for a connection by its name; a tool without these words is handed its own.
_ASKS = re.compile(r"Prompty|PFClient|load_flow|Flow\.load|ModelConfiguration|connections\.get")
_WRITTEN = re.compile(
    r"""(?:^|[{,])\s*-?\s*["']?connection["']?\s*:\s*["']?(?:\$\{env:(\w+)\}|([\w][\w.:-]*))""",
    re.MULTILINE,
)
# A file that may name one for the code beside it.
_BESIDE = (".prompty", ".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Mentions:
    """`named` stand where a connection's name belongs; `texts` are other strings of the code, which
    may be the name of one."""

    named: set[str] = field(default_factory=set[str])
    texts: set[str] = field(default_factory=set[str])

    def __bool__(self) -> bool:
        return bool(self.named or self.texts)


def mentions(flow: Flow, init: Mapping[str, Any] | None = None) -> Mentions:
    """What the files of `flow` mention, and `init`, the arguments of its class."""
    found = Mentions()
    sources = [*_sources(flow)]
    asks = flow.kind != "dag" or any(
        _ASKS.search(text) for file, text in sources if file.suffix == ".py"
    )
    if not asks:
        return found
    for file, text in sources:
        if file.suffix == ".py":
            _read_python(text, found)
        elif file != flow.file or flow.kind != "dag":
            for variable, name in _WRITTEN.findall(text):
                given = flow.environment_variables.get(variable) or os.environ.get(variable)
                if name or given:
                    found.named.add(name or str(given))
    if flow.kind == "flex":
        _read_arguments(flow.definition, init or {}, found)
    found.texts.update(_strings(init or {}))
    return found


def _read_arguments(definition: FlexFlow, init: Mapping[str, Any], found: Mentions) -> None:
    """Arguments of the class that are connections, and `connection` in those that name one."""
    seen = definition.source.init if definition.source else dict[str, FlowInput]()
    kinds = {name: item.type for name, item in {**seen, **definition.init}.items()}
    for name, value in {**definition.sample_init, **init}.items():
        if isinstance(value, str) and kinds.get(name) in CONNECTION_CLASSES:
            found.named.add(value)
        elif is_mapping(value) and isinstance(value.get("connection"), str):
            found.named.add(value["connection"])


def _sources(flow: Flow) -> Iterator[tuple[Path, str]]:
    """The text files of the flow's folder and its includes."""
    count = 0
    places = [flow.root, *(flow.root / item for item in flow.additional_includes)]
    for file in (file for place in places for file in _files(place)):
        if file.suffix not in (".py", *_BESIDE):
            continue
        count += 1
        if count > MOST_FILES:
            return
        try:
            if file.stat().st_size <= LARGEST:
                yield file, file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # gone, or not ours to read: then the flow can't read it either


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    if not place.is_dir():
        return
    for item in sorted(place.iterdir()):
        if item.name in SKIPPED or item.is_symlink():
            continue
        if item.is_dir():
            yield from _files(item)
        else:
            yield item


def _read_python(text: str, found: Mentions) -> None:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return  # it won't run, either
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "connection":
            found.named.update(_constant(node.value))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            asked = isinstance(owner, ast.Attribute) and owner.attr == "connections"
            if asked and node.func.attr == "get":
                given = [*node.args[:1], *(item.value for item in node.keywords)]
                found.named.update(text for item in given for text in _constant(item))
        elif isinstance(node, ast.Constant):
            found.texts.update(_constant(node))


def _constant(node: ast.expr) -> set[str]:
    value = node.value if isinstance(node, ast.Constant) else None
    return {value} if isinstance(value, str) and value else set()


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif is_mapping(value):
        for item in value.values():
            yield from _strings(item)
    elif is_list(value):
        for item in value:
            yield from _strings(item)
