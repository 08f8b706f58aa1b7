"""A DAG flow as far as its file can be understood: the loader ends at the first phase with a fault,
the validator goes on with what is sound."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phoundry.flows.document import Document, Place, is_list, is_mapping
from phoundry.flows.extensions.parse import of_item
from phoundry.flows.model import Flow, FlowInput, Node, Source
from phoundry.flows.reference import ItemReference, Literal, NodeReference, Reference, parse
from phoundry.flows.signature import Signature

ENVIRONMENT = "${env:"
# Keys of a node that may hold references beside `inputs`.
CONDITIONS = ("activate", "foreach", "on_error", "cache")


@dataclass(frozen=True, slots=True)
class Body:
    """A node as written at `at`, or one of its variants: every one of them shall hold."""

    name: str
    at: Place
    data: Mapping[str, Any]
    chosen: bool = True  # not a variant, or the default one
    # Everything that the node refers to, with its place.
    references: tuple[tuple[Place, Reference], ...] = ()

    @property
    def optional(self) -> bool:
        """Whether a run may do without it: another variant, or behind a condition."""
        return not self.chosen or "activate" in self.data

    @property
    def type(self) -> str | None:
        kind = self.data.get("type")
        return kind if isinstance(kind, str) else None

    @property
    def source(self) -> Mapping[str, Any]:
        source = self.data.get("source")
        return source if is_mapping(source) else {}

    @property
    def aggregation(self) -> bool:
        return bool(self.data.get("aggregation") or self.data.get("reduce"))

    @property
    def inputs(self) -> dict[str, Reference]:
        content = self.data.get("inputs")
        return (
            {str(key): reference(value) for key, value in content.items()}
            if is_mapping(content)
            else {}
        )


@dataclass(frozen=True, slots=True)
class ToolFile:
    """A file that nodes are made from. `checked`: whether its imports were looked at, leniently
    (True), and as an error would be (False)."""

    file: Path
    tree: ast.Module
    tools: tuple[Signature, ...]
    checked: set[bool] = field(default_factory=set[bool])


@dataclass(frozen=True, slots=True)
class Draft:
    """Inputs and outputs that are mappings, nodes that have a name."""

    document: Document
    inputs: Mapping[str, Mapping[str, Any]]
    outputs: Mapping[str, Mapping[str, Any]]
    bodies: tuple[Body, ...]
    flow: Flow = field(repr=False)
    # By name, in their order: a node may be written more than once, or several ways.
    nodes: Mapping[str, list[Body]] = field(repr=False)
    # What the checks of tools have read, by the path that nodes name.
    parsed: dict[str, ToolFile] = field(default_factory=dict[str, "ToolFile"], repr=False)
    _located: dict[str, Path | None] = field(default_factory=dict[str, Path | None], repr=False)

    def named(self, name: str) -> list[Body]:
        return self.nodes.get(name, [])

    def locate(self, path: str) -> Path | None:
        """The file `path` of a node's source."""
        if path not in self._located:  # many nodes may be made from one file
            try:
                self._located[path] = self.flow.locate(path)
            except (OSError, ValueError):  # a name that no file can have
                self._located[path] = None
        return self._located[path]


def reference(value: Any) -> Reference:
    """As `reference.parse`; what the environment fills in is no reference to a node."""
    if isinstance(value, str) and value.startswith(ENVIRONMENT):
        return Literal(value)
    return parse(value)


def make_draft(document: Document) -> Draft:
    """What can be understood of `document`; faults are for `structure` to tell."""
    data = document.data
    bodies = tuple(_bodies(data))
    includes: Any = data.get("additional_includes")
    inputs = _mappings(data.get("inputs"))
    flow = Flow(
        root=document.file.parent,
        file=document.file,
        inputs={
            name: FlowInput(str(item.get("type")), item.get("default"))
            for name, item in inputs.items()
        },
        outputs={},
        nodes=tuple(_node(body) for body in bodies if body.chosen),
        environment_variables=_plain(data.get("environment_variables")),
        additional_includes=tuple(map(str, includes)) if is_list(includes) else (),
    )
    nodes: dict[str, list[Body]] = {}
    for body in bodies:
        nodes.setdefault(body.name, []).append(body)
    return Draft(document, inputs, _mappings(data.get("outputs")), bodies, flow, nodes)


def _plain(value: Any) -> dict[str, Any]:
    return {str(key): item for key, item in value.items()} if is_mapping(value) else {}


def _mappings(value: Any) -> dict[str, Mapping[str, Any]]:
    return {name: item for name, item in _plain(value).items() if is_mapping(item)}


def _bodies(data: Mapping[str, Any]) -> Iterator[Body]:
    nodes, table = data.get("nodes"), data.get("node_variants")
    for index, item in enumerate(nodes if is_list(nodes) else []):
        if not is_mapping(item) or item.get("name") in (None, ""):
            continue
        name = str(item["name"])
        entry = table.get(name) if is_mapping(table) else None
        if not item.get("use_variants") or not is_mapping(entry):
            yield _body(name, ("nodes", index), item)
            continue
        default, variants = str(entry.get("default_variant_id")), entry.get("variants")
        for key, variant in variants.items() if is_mapping(variants) else ():
            body = variant.get("node") if is_mapping(variant) else None
            if is_mapping(body):
                at = ("node_variants", name, "variants", key, "node")
                yield _body(name, at, body, chosen=str(key) == default)


def _body(name: str, at: Place, data: Mapping[str, Any], *, chosen: bool = True) -> Body:
    return Body(name, at, data, chosen, tuple(_taken(at, data)))


def _taken(at: Place, data: Mapping[str, Any]) -> Iterator[tuple[Place, Reference]]:
    content, item = data.get("inputs"), _item(data)
    if is_mapping(content):
        for key, value in content.items():
            for place, found in _references(value, (*at, "inputs", key), nested=False):
                if item is None or not isinstance(of_item(value, item), ItemReference):
                    yield place, found
    for key in CONDITIONS:
        yield from _references(data.get(key), (*at, key), nested=True)
    fallback = data.get("on_error")
    if is_mapping(fallback) and isinstance(fallback.get("node"), str):
        yield (*at, "on_error", "node"), NodeReference(fallback["node"])


def _item(data: Mapping[str, Any]) -> str | None:
    """What an item of the node's `foreach` is called in its inputs."""
    foreach = data.get("foreach")
    if is_mapping(foreach):
        return str(foreach.get("as", "item"))
    return "item" if isinstance(foreach, str) else None


def _node(body: Body) -> Node:
    """The node for the checks that the loader's rooms have: connections, files."""
    source = body.source
    path, tool = source.get("path"), source.get("tool")
    connection, api = body.data.get("connection"), body.data.get("api")
    return Node(
        name=body.name,
        type=body.type,
        source=Source(
            str(source.get("type")),
            path if isinstance(path, str) else None,
            tool if isinstance(tool, str) else None,
        )
        if source
        else None,
        inputs=body.inputs,
        aggregation=body.aggregation,
        connection=connection if isinstance(connection, str) else None,
        api=api if isinstance(api, str) else None,
    )


def _references(value: Any, at: Place, *, nested: bool) -> Iterator[tuple[Place, Reference]]:
    if isinstance(value, str):
        found = reference(value)
        if not isinstance(found, Literal):
            yield at, found
    elif nested and is_mapping(value):
        for key, item in value.items():
            yield from _references(item, (*at, key), nested=True)
    elif nested and is_list(value):
        for index, item in enumerate(value):
            yield from _references(item, (*at, index), nested=True)
