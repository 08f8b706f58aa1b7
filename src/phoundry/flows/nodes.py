"""The nodes of a flow's file: names, kinds, sources, inputs, conditions."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from phoundry.errors import nearest
from phoundry.flows.document import Document, Place, is_list, is_mapping
from phoundry.flows.errors import (
    FailedToImportModule,
    FlowDefinitionError,
    FlowError,
    NoDefinition,
    NoMapping,
    UnknownWord,
)
from phoundry.flows.extensions.link import link
from phoundry.flows.extensions.parse import is_plain, parse_extensions, parse_input
from phoundry.flows.model import NODE_TYPES, Activate, Node, Source
from phoundry.flows.reference import parse

# Of promptflow-tools.
MODULES = ("aoai", "openai", "aoai_gpt4v", "openai_gpt4v", "open_model_llm", "llm", "llm_vision")


def read_nodes(document: Document, errors: list[FlowError]) -> tuple[Node, ...]:
    """The nodes of `document` in the file's order; every fault goes to `errors`."""
    content: Any = document.data.get("nodes") or []
    if not is_list(content):
        errors.append(NoMapping("`nodes` is no list.", where=document.where("nodes")))
        return ()
    nodes: list[Node] = []
    for index, item in enumerate(content):
        if not is_mapping(item):
            errors.append(no_mapping(document, "nodes", index))
            continue
        try:
            nodes.append(_node(document, ("nodes", index), item, errors))
        except FlowError as error:
            errors.append(error)
    return link(document, nodes, errors)


def no_mapping(document: Document, *at: str | int) -> NoMapping:
    """The error for a part of the file that should be `key: value` lines."""
    name = ".".join(str(part) for part in at)
    return NoMapping(f"`{name}` holds no `key: value` lines.", where=document.where(*at))


def _node(document: Document, at: Place, data: dict[str, Any], errors: list[FlowError]) -> Node:
    name = str(data.get("name") or "")
    if not name:
        raise FlowDefinitionError("A node has no `name`.", where=document.where(*at))
    kind = data.get("type")
    if kind not in NODE_TYPES and "type" in data:
        near = nearest(str(kind), NODE_TYPES)
        raise UnknownWord(
            f"{kind!r} is not a valid ToolType",
            remedy=f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(NODE_TYPES)}.",
            where=document.where(*at, "type"),
        )
    if kind == "llm":
        _check_module(document, at, data, name)
    inputs: Any = data.get("inputs") or {}
    if not is_mapping(inputs):
        raise no_mapping(document, *at, "inputs")
    extensions = parse_extensions(document, at, data, errors)
    return Node(
        name=name,
        type=kind,
        source=_source(document, at, data),
        inputs={str(key): parse_input(value, extensions) for key, value in inputs.items()},
        activate=_activate(document, at, data, name),
        aggregation=bool(data.get("aggregation") or data.get("reduce")),
        connection=_text(data.get("connection")),
        api=_text(data.get("api")),
        line=document.line(*at),
        extensions=extensions,
    )


def _check_module(document: Document, at: Place, data: Mapping[str, Any], name: str) -> None:
    """Old files name the module that calls the model; ours calls it whatever stands there."""
    module = str(data.get("module") or "")
    top, _, rest = module.partition(".")
    known = rest.removeprefix("tools.") in MODULES if top == "promptflow" else None
    try:
        known = find_spec(top) is not None if known is None and module else known
    except (ImportError, ValueError):
        known = False
    if known is False:
        raise FailedToImportModule(
            f"Failed to import modules with error: Import node '{name}' provider module "
            f"'{module}' failed.",
            remedy="Drop the line: llm nodes need no module here.",
            where=document.where(*at, "module"),
        )


def _source(document: Document, at: Place, data: Mapping[str, Any]) -> Source | None:
    if "source" not in data:
        return None
    source: Any = data["source"]
    if not is_mapping(source):
        raise no_mapping(document, *at, "source")
    path, tool = (_text(source.get(key)) for key in ("path", "tool"))
    return Source(str(source.get("type") or "code"), path, tool)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _activate(document: Document, at: Place, data: Mapping[str, Any], name: str) -> Activate | None:
    condition: Any = data.get("activate")
    where = document.where(*at, "activate")
    if condition is None and "activate" in data:
        raise NoDefinition(
            f"The `activate` of node {name} is empty.",
            remedy="It needs both `when` and `is`; drop the line for a node that always runs.",
            where=where,
        )
    if condition is None or not is_plain(condition):
        return None
    if not is_mapping(condition) or not {"when", "is"} <= set(condition):
        raise FlowDefinitionError(
            f"The definition of activate config for node {name} is incorrect. "
            "Please check your flow yaml and resubmit.",
            remedy="It needs both `when` and `is`.",
            where=where,
        )
    return Activate(parse(condition["when"]), condition["is"])
