"""A `.prompty` file as it was read: front matter, then the template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phoundry.flows.document import Document, is_mapping, parse_document
from phoundry.flows.errors import FlowDefinitionError, YamlError
from phoundry.flows.model import Flow, FlowInput, FlowOutput
from phoundry.flows.prompty.errors import PromptyFormatError
from phoundry.flows.prompty.references import read_sample, resolve
from phoundry.flows.reference import Literal
from phoundry.flows.returned import OUTPUT
from phoundry.flows.values import VALUE_TYPES

# Front matter between lines of at least three dashes; the template may have such lines again.
_PARTS = re.compile(
    r"\A\s*-{3,}[ \t]*\n(?P<front>.*?)^-{3,}[ \t]*\n(?P<template>.*)\Z", re.S | re.M
)
# A value's type in the `inputs` of a prompty that has none written.
_TYPES: Mapping[type, str] = {
    bool: "bool",
    int: "int",
    float: "double",
    str: "string",
    list: "list",
}


@dataclass(frozen=True, slots=True)
class PromptyFlow:
    """`settings` are the front matter, `line` is the template's first in the file."""

    settings: Mapping[str, Any]
    template: str
    line: int = 1


def load(file: Path) -> Flow:
    """The prompty in `file`.

    Raises:
        PromptyFormatError: it has no front matter between `---` lines.
        YamlError, FlowDefinitionError: the front matter is not a YAML mapping.
    """
    document, template = read_prompty(file)
    settings = document.data
    inputs = declared_inputs(settings, file.parent)
    return Flow(
        root=file.parent,
        file=file,
        inputs={name: _input(document, name, item) for name, item in inputs.items()},
        outputs=_outputs(settings),
        nodes=(),
        environment_variables=_mapping(document, "environment_variables"),
        kind="prompty",
        definition=PromptyFlow(settings, template, _line_of_template(file, template)),
    )


def read_prompty(file: Path) -> tuple[Document, str]:
    """The front matter of `file`, and its template.

    Raises:
        PromptyFormatError, YamlError, FlowDefinitionError: as `load`.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlError(f"{file.name} is not UTF-8 at byte {error.start}.") from None
    parts = _PARTS.match(text if text.endswith("\n") else text + "\n")
    if parts is None:
        raise PromptyFormatError(
            f"Illegal formatting of prompty: {file.name} has no front matter.",
            remedy="It begins with a line `---`, then YAML, then a line `---`, then the prompt.",
            where=f"{file.name}:1",
        )
    template = parts["template"] if text.endswith("\n") else parts["template"].removesuffix("\n")
    before = text[: parts.start("front")].count("\n")
    document = parse_document(file, "\n" * before + parts["front"])
    for section in ("model", "inputs", "outputs"):
        _mapping(document, section)
    return document, template


def declared_inputs(settings: Mapping[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """`{name: {"type", "default"?}}`: as written, else as the sample shows them."""
    written: dict[str, Any] = settings.get("inputs") or {}
    if written:
        return {
            str(name): dict(item) if is_mapping(item) else _of_value(item)
            for name, item in written.items()
        }
    sample = read_sample(settings.get("sample"), folder)
    return {name: {"type": type_of(value)} for name, value in sample.items()}


def _of_value(value: Any) -> dict[str, Any]:
    """`question: string`, or the older prompties' `question: What is …?`, a value to start with."""
    if value in VALUE_TYPES:
        return {"type": value}
    return {"type": type_of(value), "default": value} if value is not None else {"type": "object"}


def type_of(value: Any) -> str:
    return next((name for kind, name in _TYPES.items() if isinstance(value, kind)), "object")


def _input(document: Document, name: str, item: Mapping[str, Any]) -> FlowInput:
    kind = str(item.get("type", "object"))
    return FlowInput(
        type=kind if kind in VALUE_TYPES else "object",
        default=resolve(item.get("default"), document.file.parent),
        description=str(item.get("description") or ""),
        is_chat_input=bool(item.get("is_chat_input", False)),
        is_chat_history=bool(item.get("is_chat_history", name == "chat_history")),
        line=document.line("inputs", name),
    )


def _outputs(settings: Mapping[str, Any]) -> dict[str, FlowOutput]:
    """Those written are of an answer in JSON; else there is one text."""
    found: dict[str, FlowOutput] = {}
    written: dict[str, Any] = settings.get("outputs") or {}
    for name, item in written.items():
        kind = item.get("type", "object") if is_mapping(item) else item
        found[str(name)] = FlowOutput(str(kind), Literal(None))
    return found or {OUTPUT: FlowOutput("string", Literal(None))}


def _mapping(document: Document, section: str) -> dict[str, Any]:
    value: Any = document.data.get(section) or {}
    if not is_mapping(value):
        raise FlowDefinitionError(
            f"`{section}` holds no `key: value` lines.", where=document.where(section)
        )
    return value


def _line_of_template(file: Path, template: str) -> int:
    lines = file.read_text(encoding="utf-8-sig").count("\n")
    return lines - template.count("\n") + 1
