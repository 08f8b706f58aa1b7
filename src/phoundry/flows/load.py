"""From a folder to a `Flow`: YAML, tools (read, not run), topology, outputs.

Every fault of a phase is reported at once. The first one is the one that Prompt flow stops at, in
its order: nodes' words and tools, then topology, then outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

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
    FlowError,
    FlowValidationError,
    InvalidMessageFormat,
    MissingKey,
    NoDefinition,
    NoMapping,
    raise_together,
)
from phoundry.flows.extensions.environment import fill_environment
from phoundry.flows.inspection import inspect_tools
from phoundry.flows.model import MESSAGE_FORMATS, Flow, FlowInput, FlowOutput
from phoundry.flows.nodes import no_mapping, read_nodes
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
        from phoundry.flows import prompty

        return prompty.load(file)
    document = read_document(file)
    missing: list[FlowError] = []
    fill_environment(document, child_environ(), missing)
    raise_together(missing)
    if "entry" in document.data:
        if "nodes" in document.data:
            raise FlowValidationError(
                f"{file.name} has both `entry` and `nodes`.",
                remedy="A flex flow has an `entry`, a DAG has `nodes`: keep one of them.",
                where=document.where("entry"),
            )
        from phoundry.flows import flex

        return flex.load(document)
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
    nodes = read_nodes(document, errors)
    message_format = _message_format(document, errors)
    data = document.data
    variables: Any = data.get("environment_variables") or {}
    if not is_mapping(variables):
        errors.append(no_mapping(document, "environment_variables"))
    includes: Any = data.get("additional_includes") or []
    if not is_list(includes):
        message = "`additional_includes` is no list."
        errors.append(NoMapping(message, where=document.where("additional_includes")))
    raise_together(errors)
    return Flow(
        root=document.file.parent,
        file=document.file,
        inputs=inputs,
        outputs=outputs,
        nodes=nodes,
        message_format=message_format,
        environment_variables=variables,
        additional_includes=tuple(str(item) for item in includes),
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
        errors.append(no_mapping(document, section))
        return {}
    for name, value in content.items():
        at = (section, str(name))
        if not is_mapping(value):
            message = f"`{'.'.join(at)}` holds no `key: value` lines."
            errors.append(NoDefinition(message, where=document.where(*at)))
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
        message_format=str(document.data.get("message_format") or MESSAGE_FORMATS[0]).lower(),
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


def _type(document: Document, at: Place, data: Mapping[str, Any]) -> str:
    if "type" not in data:
        name = ".".join(str(part) for part in at)
        raise MissingKey(f"`{name}` has no 'type'.", where=document.where(*at))
    return check_type(data["type"], where=document.where(*at, "type"))


def _message_format(document: Document, errors: list[FlowError]) -> str:
    written = str(document.data.get("message_format") or MESSAGE_FORMATS[0])
    if written.lower() not in MESSAGE_FORMATS:
        errors.append(
            InvalidMessageFormat(
                f"Invalid message format '{written}'. "
                f"Supported message formats are {list(MESSAGE_FORMATS)}.",
                where=document.where("message_format"),
            )
        )
    return written.lower()
