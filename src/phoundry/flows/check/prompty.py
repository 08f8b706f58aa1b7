"""Prompty files: front matter, template, roles, model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from phoundry.errors import nearest
from phoundry.flows.check import keys
from phoundry.flows.check.finding import Finding, Notes
from phoundry.flows.check.keys import check_keys
from phoundry.flows.check.needs import CREATE, Known, check_variables
from phoundry.flows.check.templates import check_roles, parse_template, place_in, undeclared
from phoundry.flows.document import LARGEST, Document, is_mapping, parse_document
from phoundry.flows.errors import FlowError
from phoundry.specs.connection_types import NO_SIGN_IN

FRONT = re.compile(r"\A\s*---[ \t]*\n(.*?)\n?^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
APIS = ("chat", "completion")


def check_prompty(file: Path, known: Known) -> list[Finding]:
    """Every fault of the prompty `file`."""
    notes = Notes(Document(file, {}, {}))
    try:
        if file.stat().st_size > LARGEST:
            notes.error("UserErrorException", f"{file.name} is larger than {LARGEST:,} bytes.")
            return notes.findings
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        notes.error("UserErrorException", f"{file.name} is not UTF-8 at byte {error.start}.")
        return notes.findings
    match = FRONT.match(text)
    if match is None:
        message = f"{file.name} has no front matter between two `---` lines."
        remedy = "Begin it with `---`, `model:` and what else it needs, `---`, then the prompt."
        notes.error("UserErrorException", message, remedy=remedy)
        return notes.findings
    before = text.count("\n", 0, match.start(1))
    try:
        document = parse_document(file, "\n" * before + match[1])
    except FlowError as error:
        from phoundry.flows.check.checker import finding_of

        return [finding_of(error, file.name)]
    notes = Notes(document)
    _front(notes, known)
    check_variables(notes)
    _template(notes, file, text, match)
    return notes.findings


def _front(notes: Notes, known: Known) -> None:
    data = notes.document.data
    check_keys(notes, data, keys.PROMPTY, (), "a prompty")
    for section in ("model", "inputs", "outputs"):
        if data.get(section) and not is_mapping(data[section]):
            notes.error("FlowDefinitionError", f"`{section}` holds no `key: value` lines.", section)
    model = data.get("model")
    if not is_mapping(model):
        return
    check_keys(notes, model, keys.MODEL, ("model",), "a prompty's model")
    api = model.get("api", "chat")
    if api not in APIS:
        message = f"`model.api` is {api!r}."
        notes.error("FlowDefinitionError", message, "model", "api", remedy="Write chat.")
    configuration = model.get("configuration")
    if is_mapping(configuration):
        _signs_in(notes, configuration)
    named = configuration.get("connection") if is_mapping(configuration) else None
    if isinstance(named, str) and known.available is not None and "${" not in named:
        names = [item.name for item in known.available()]
        if named not in names:
            near = nearest(named, names)
            hint = f"Did you mean {near[0]}? " if near else ""
            notes.error(
                "GetConnectionError",
                f"There is no connection '{named}'.",
                *("model", "configuration", "connection"),
                remedy=hint + CREATE.format("connection"),
                setup=True,
            )


def _signs_in(notes: Notes, configuration: dict[str, Any]) -> None:
    """Prompt flow signs in to Azure where a configuration has an address and no key."""
    address = "azure_endpoint" in configuration and not configuration.get("connection")
    if address and not configuration.get("api_key"):
        notes.error(
            "InvalidConnectionType",
            "The configuration has an azure_endpoint and no api_key. " + NO_SIGN_IN,
            *("model", "configuration", "azure_endpoint"),
            remedy="Write `api_key: ${env:AZURE_OPENAI_API_KEY}`, or name a `connection` in place "
            "of both.",
        )


def _template(notes: Notes, file: Path, text: str, front: re.Match[str]) -> None:
    template = text[front.end() :]
    first = text.count("\n", 0, front.end()) + 1
    tree = parse_template(notes, file, template, None, first=first)
    if tree is None:
        return
    data = notes.document.data
    declared = _names(data.get("inputs")) | _names(data.get("sample"))
    wanted = undeclared(tree)
    for name in sorted(wanted - declared) if declared else ():
        line, column = place_in(template, name)
        near = nearest(name, declared)
        notes.in_file(
            "warning",
            "UnfilledVariable",
            f"`inputs` declares no `{name}`, which the prompt uses.",
            file,
            first + line - 1 if line else 0,
            column,
            remedy=f"Did you mean {near[0]}?" if near else f"Declare `{name}` under `inputs`.",
        )
    for name in sorted(_names(data.get("inputs")) - wanted):
        message = f"The prompt does not use the input '{name}'."
        notes.warning("UnusedInput", message, "inputs", name, remedy="Use it, or drop it.")
    model = data.get("model")
    if not is_mapping(model) or model.get("api", "chat") == "chat":
        check_roles(notes, file, template, None, fed=False, first=first)


def _names(value: Any) -> set[str]:
    return {str(key) for key in value} if is_mapping(value) else set()
