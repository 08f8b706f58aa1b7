"""`flow.flex.yaml` as it was read. The entry's signature comes from its source, not from a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from phoundry.flows.document import Document, is_list, is_mapping
from phoundry.flows.errors import FlowDefinitionError, NotSupported, PythonLoadError
from phoundry.flows.flex.entry import EntrySource, read_entry
from phoundry.flows.flex.errors import InvalidFlexFlowEntry
from phoundry.flows.model import Flow, FlowInput, FlowOutput
from phoundry.flows.reference import Literal
from phoundry.flows.signature import CONNECTION_CLASSES
from phoundry.flows.values import VALUE_TYPES

OUTPUT = "output"  # the name of what an entry returns that is no mapping


@dataclass(frozen=True, slots=True)
class FlexFlow:
    """`declared` and `init` are what the file says of inputs and of the class's arguments;
    `source` is the entry as its text shows it, None where that can't be told without running it.
    """

    module: str
    name: str
    declared: Mapping[str, FlowInput]
    init: Mapping[str, FlowInput]
    sample_inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    sample_init: Mapping[str, Any] = field(default_factory=dict[str, Any])
    requirements: str | None = None
    source: EntrySource | None = None


def load(document: Document) -> Flow:
    """The flex flow in `document`; no code of the user runs.

    Raises:
        InvalidFlexFlowEntry: `entry` is not `module:name`.
        FlowDefinitionError: a section is not made of `key: value` lines.
        NotSupported: an entry in another language.
    """
    data = document.data
    if data.get("language", "python") != "python":
        raise NotSupported(
            f"{document.file.name} is in {data['language']}; flows run in Python here.",
            where=document.where("language"),
        )
    module, name = _entry(document)
    root = _root(document)
    source = read_entry(root, module, name)
    declared = _values(document, "inputs")
    init = _values(document, "init")
    counts = all(_understood(document, section) for section in ("inputs", "outputs", "init"))
    sample = _section(document, "sample") if counts else {}
    return Flow(
        root=root,
        file=document.file,
        inputs=declared or (source.inputs if source else {}),
        outputs=_outputs(document) or (source.outputs if source else _plain_output()),
        nodes=(),
        environment_variables=_section(document, "environment_variables"),
        additional_includes=_includes(document),
        kind="flex",
        definition=FlexFlow(
            module,
            name,
            declared if counts else {},
            init if counts else {},
            _mapping(document, sample.get("inputs"), "sample", "inputs"),
            _mapping(document, sample.get("init"), "sample", "init"),
            _requirements(document),
            source,
        ),
    )


def with_types(flow: Flow) -> Flow:
    """The flex `flow`; where its file declares no inputs, with those that its entry takes declared.
    Prompt flow's `flow test` and batch runs hold them to their types, its server does not."""
    definition: FlexFlow = flow.definition
    if definition.declared or definition.source is None:
        return flow
    return replace(flow, definition=replace(definition, declared=definition.source.typed))


def _entry(document: Document) -> tuple[str, str]:
    entry = str(document.data.get("entry"))
    module, _, name = entry.partition(":")
    remedy = "Such as `entry: chat:ChatFlow` for the class ChatFlow in chat.py."
    where = document.where("entry")
    if entry.count(":") != 1:
        raise InvalidFlexFlowEntry(
            f"Invalid entry '{entry}'. The entry should be in the format of '<module>:<function>'.",
            remedy=remedy,
            where=where,
        )
    if not module or not name:
        raise PythonLoadError(
            f"Failed to load python module for {document.file.name}: '{entry}' names no "
            f"{'function' if module else 'module'}.",
            remedy=remedy,
            where=where,
        )
    return module, name


def _root(document: Document) -> Path:
    """The folder that the entry is imported from: the file's, or what `code` names from there."""
    code = document.data.get("code")
    root = document.file.parent / str(code) if code else document.file.parent
    if not root.is_dir():
        raise FlowDefinitionError(f"`code` is {code}, no folder.", where=document.where("code"))
    return root.resolve()


def _values(document: Document, section: str) -> dict[str, FlowInput]:
    """Inputs, or arguments of the class. An unknown `type` takes any value: for the class's
    arguments it is the name of a connection or a model configuration."""
    found: dict[str, FlowInput] = {}
    for name, item in _section(document, section).items():
        spec = item if is_mapping(item) else {"type": item}
        kind = str(spec.get("type", "object"))
        found[str(name)] = FlowInput(
            type=kind if kind in VALUE_TYPES or section == "init" else "object",
            default=spec.get("default"),
            description=str(spec.get("description") or ""),
            is_chat_input=bool(spec.get("is_chat_input", False)),
            is_chat_history=bool(spec.get("is_chat_history", name == "chat_history")),
            line=document.line(section, str(name)),
        )
    return found


def _understood(document: Document, section: str) -> bool:
    """Whether every `type` of the section is one of Prompt flow's. Where one is not (`type: str`),
    Prompt flow runs the entry as if the file said nothing else: no defaults, no conversion, no
    sample."""
    known: tuple[str, ...] = VALUE_TYPES
    if section == "init":
        from phoundry.flows.provided.model_configuration import CONFIGURATIONS

        known = (*VALUE_TYPES, *CONNECTION_CLASSES, *CONFIGURATIONS)
    items = _section(document, section).values()
    return all(is_mapping(item) and item.get("type") in known for item in items)


def _outputs(document: Document) -> dict[str, FlowOutput]:
    found: dict[str, FlowOutput] = {}
    for name, item in _section(document, "outputs").items():
        spec = item if is_mapping(item) else {"type": item}
        found[str(name)] = FlowOutput(
            type=str(spec.get("type", "object")),
            reference=Literal(None),
            description=str(spec.get("description") or ""),
            is_chat_output=bool(spec.get("is_chat_output", False)),
            line=document.line("outputs", str(name)),
        )
    return found


def _plain_output() -> dict[str, FlowOutput]:
    return {OUTPUT: FlowOutput("string", Literal(None))}


def _requirements(document: Document) -> str | None:
    named = _section(document, "environment").get("python_requirements_txt")
    return str(named) if named else None


def _includes(document: Document) -> tuple[str, ...]:
    items: Any = document.data.get("additional_includes") or []
    return tuple(str(item) for item in items) if is_list(items) else ()


def _section(document: Document, section: str) -> dict[str, Any]:
    return _mapping(document, document.data.get(section), section)


def _mapping(document: Document, value: Any, *at: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not is_mapping(value):
        name = ".".join(at)
        raise FlowDefinitionError(
            f"`{name}` holds no `key: value` lines.", where=document.where(*at)
        )
    return value
