"""From a folder to a `Flow`: YAML, tools (read, not run), topology, outputs.

Every fault of a phase is reported at once. The first one is the one that Prompt flow stops at, in
its order: nodes' words and tools, then topology, then outputs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from phoundry.errors import nearest
from phoundry.flows.document import (
    PROMPTY,
    Document,
    Place,
    find_file,
    is_list,
    is_mapping,
    read_document,
)
from phoundry.flows.errors import (
    FlowDefinitionError,
    FlowError,
    MissingKey,
    UnknownWord,
    raise_together,
)
from phoundry.flows.extensions.conditions import is_plain
from phoundry.flows.extensions.environment import fill_environment
from phoundry.flows.extensions.link import link
from phoundry.flows.extensions.parse import parse_extensions, parse_input
from phoundry.flows.inspection import inspect_tools
from phoundry.flows.model import NODE_TYPES, Activate, Flow, FlowInput, FlowOutput, Node, Source
from phoundry.flows.reference import parse
from phoundry.flows.topology import check_topology
from phoundry.flows.values import check_type
from phoundry.flows.variants import apply_variants
from phoundry.settings import child_environ

Part = TypeVar("Part")


def load_flow(path: Path | str, *, variant: str | None = None) -> Flow:
    """The flow in the folder or file `path`, checked; no code of the user runs.

    `variant` is `${node.variant}` or `node.variant`; other nodes take their default variant.

    Raises:
        NotFound: no flow there.
        FlowError: every fault found, the first one raised and the rest in `others`.
    """
    file = find_file(Path(path))
    if file.suffix == PROMPTY:
        return importlib.import_module("phoundry.flows.prompty").load(file)
    document = read_document(file)
    missing: list[FlowError] = []
    fill_environment(document, child_environ(), missing)
    raise_together(missing)
    if "entry" in document.data:
        return importlib.import_module("phoundry.flows.flex").load(document)
    return load_dag(document, variant)


def load_dag(document: Document, variant: str | None = None) -> Flow:
    """The DAG in `document`, as `load_flow` gives it."""
    apply_variants(document, variant)
    flow = _build(document)
    signatures, errors = inspect_tools(flow)
    raise_together([*errors, *check_topology(flow)])
    return replace(flow, signatures=signatures)


def _build(document: Document) -> Flow:
    errors: list[FlowError] = []
    inputs = _each(document, "inputs", _input, errors)
    outputs = _each(document, "outputs", _output, errors)
    nodes = _nodes(document, errors)
    raise_together(errors)
    data = document.data
    return Flow(
        root=document.file.parent,
        file=document.file,
        inputs=inputs,
        outputs=outputs,
        nodes=nodes,
        environment_variables=data.get("environment_variables") or {},
        additional_includes=tuple(str(item) for item in data.get("additional_includes") or ()),
    )


def _each(
    document: Document,
    section: str,
    build: Callable[[Document, Place, Mapping[str, Any]], Part],
    errors: list[FlowError],
) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    content: Any = document.data.get(section) or {}
    if not is_mapping(content):
        errors.append(_no_mapping(document, section))
        return {}
    for name, value in content.items():
        at = (section, str(name))
        if not is_mapping(value):
            errors.append(_no_mapping(document, *at))
            continue
        try:
            parts[str(name)] = build(document, at, value)
        except FlowError as error:
            errors.append(error)
    return parts


def _input(document: Document, at: Place, data: Mapping[str, Any]) -> FlowInput:
    name = str(at[-1])
    flagged = data.get("is_chat_history")
    return FlowInput(
        type=_type(document, at, data),
        default=data.get("default"),
        description=str(data.get("description") or ""),
        is_chat_input=bool(data.get("is_chat_input", False)),
        is_chat_history=name == "chat_history" if flagged is None else bool(flagged),
        line=document.line(*at),
    )


def _output(document: Document, at: Place, data: Mapping[str, Any]) -> FlowOutput:
    return FlowOutput(
        type=_type(document, at, data),
        reference=parse(data.get("reference", "")),
        description=str(data.get("description") or ""),
        is_chat_output=bool(data.get("is_chat_output", False)),
        evaluation_only=bool(data.get("evaluation_only", False)),
        line=document.line(*at),
    )


def _nodes(document: Document, errors: list[FlowError]) -> tuple[Node, ...]:
    content: Any = document.data.get("nodes") or []
    if not is_list(content):
        errors.append(FlowDefinitionError("`nodes` is no list.", where=document.where("nodes")))
        return ()
    nodes: list[Node] = []
    for index, item in enumerate(content):
        if not is_mapping(item):
            errors.append(_no_mapping(document, "nodes", index))
            continue
        try:
            nodes.append(_node(document, ("nodes", index), item, errors))
        except FlowError as error:
            errors.append(error)
    return link(document, nodes, errors)


def _node(document: Document, at: Place, data: dict[str, Any], errors: list[FlowError]) -> Node:
    if not data.get("name"):
        raise FlowDefinitionError("A node has no `name`.", where=document.where(*at))
    kind = data.get("type")
    if kind is not None and kind not in NODE_TYPES:
        near = nearest(str(kind), NODE_TYPES)
        raise UnknownWord(
            f"'{kind}' is not a valid ToolType",
            remedy=f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(NODE_TYPES)}.",
            where=document.where(*at, "type"),
        )
    inputs: Any = data.get("inputs") or {}
    if not is_mapping(inputs):
        raise _no_mapping(document, *at, "inputs")
    extensions = parse_extensions(document, at, data, errors)
    return Node(
        name=str(data["name"]),
        type=kind,
        source=_source(document, at, data.get("source")),
        inputs={str(name): parse_input(value, extensions) for name, value in inputs.items()},
        activate=_activate(document, at, data),
        aggregation=bool(data.get("aggregation") or data.get("reduce")),
        connection=data.get("connection"),
        api=data.get("api"),
        line=document.line(*at),
        extensions=extensions,
    )


def _source(document: Document, at: Place, data: Any) -> Source | None:
    if data is None:
        return None
    if not is_mapping(data):
        raise _no_mapping(document, *at, "source")
    if "type" not in data:
        raise MissingKey("A node's `source` has no 'type'.", where=document.where(*at, "source"))
    return Source(str(data["type"]), data.get("path"), data.get("tool"))


def _activate(document: Document, at: Place, data: Mapping[str, Any]) -> Activate | None:
    condition: Any = data.get("activate")
    if (condition is None and "activate" not in data) or not is_plain(condition):
        return None
    if not is_mapping(condition) or not {"when", "is"} <= set(condition):
        raise FlowDefinitionError(
            f"The definition of activate config for node {data['name']} is incorrect. "
            "Please check your flow yaml and resubmit.",
            remedy="It needs both `when` and `is`.",
            where=document.where(*at, "activate"),
        )
    return Activate(parse(condition["when"]), condition["is"])


def _type(document: Document, at: Place, data: Mapping[str, Any]) -> str:
    if "type" not in data:
        name = ".".join(str(part) for part in at)
        raise MissingKey(f"`{name}` has no 'type'.", where=document.where(*at))
    return check_type(data["type"], where=document.where(*at, "type"))


def _no_mapping(document: Document, *at: str | int) -> FlowDefinitionError:
    name = ".".join(str(part) for part in at)
    return FlowDefinitionError(f"`{name}` holds no `key: value` lines.", where=document.where(*at))
