"""Python tools, parsed and never imported: files, syntax, parameters, imports."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from phoundry.errors import nearest
from phoundry.flows.check.draft import Body, Draft, ToolFile
from phoundry.flows.check.finding import Notes
from phoundry.flows.check.imports import check_imports
from phoundry.flows.reference import InputReference, Literal
from phoundry.flows.signature import Signature, read_source
from phoundry.flows.values import parse

# Types of inputs of a flow that no tool takes for a parameter of the kind, and which nothing
# converts on the way.
CLASHES = {
    ("string", "int"), ("string", "double"), ("string", "bool"), ("string", "list"),
    ("int", "string"), ("int", "list"), ("double", "string"), ("double", "list"),
    ("bool", "string"), ("bool", "list"), ("list", "string"), ("list", "int"),
    ("list", "double"), ("list", "bool"), ("object", "string"), ("object", "int"),
}  # fmt: skip


def check_tool(draft: Draft, notes: Notes, body: Body) -> Signature | None:
    """A python node made from a file; its signature where the source shows one."""
    parsed = _parsed(draft, notes, body)
    if parsed is None:
        return None
    file, tree, tools = parsed.file, parsed.tree, parsed.tools
    if notes.lenient not in parsed.checked:
        parsed.checked.add(notes.lenient)
        check_imports(draft.flow.root, draft.flow.additional_includes, notes, file, tree)
    if len(tools) > 1:
        names = ", ".join(tool.function for tool in tools)
        notes.in_file(
            "error",
            "MultipleToolsDefined",
            f"Expected 1 tool, found {len(tools)}: {names}.",
            file,
            tools[1].line,
            1,
            remedy="Put each tool into a file of its own.",
            node=body.name,
        )
        return None
    if not tools:
        made = any(isinstance(item, ast.Name) and item.id == "tool" for item in ast.walk(tree))
        notes.in_file(
            "warning" if made else "error",
            "NoToolDefined",
            f"{file.name} shows no tool."
            + (" It may make one when it is imported." if made else ""),
            file,
            1,
            1,
            remedy="Put `@tool` (from promptflow.core import tool) above its function.",
            node=body.name,
        )
        return None
    _assistant(notes, body, tools[0])
    _parameters(draft, notes, body, tools[0])
    return tools[0]


def check_package(notes: Notes, body: Body) -> None:
    """A package's tool. Packages that are not here may be where the flow runs; Prompt flow's own
    are answered for here, or nowhere."""
    from phoundry.flows.tools.packages import not_provided

    tool = body.source.get("tool")
    fault = not_provided(tool) if isinstance(tool, str) else None
    if fault is not None:
        at = (*body.at, "source", "tool")
        notes.error(fault.code, fault.message, *at, node=body.name, remedy=fault.remedy)


def _assistant(notes: Notes, body: Body, tool: Signature) -> None:
    """A tool that takes the definition of one of OpenAI's Assistants."""
    for name, parameter in tool.parameters.items():
        if parameter.kind == "assistant_definition" and name in body.inputs:
            from phoundry.flows.tools.packages import ASSISTANTS

            notes.warning(
                "AssistantNotProvided",
                f"'{name}' of the tool '{tool.function}' is an AssistantDefinition, which comes "
                "as the path that is written and is not read.",
                *(*body.at, "inputs", name),
                node=body.name,
                remedy=ASSISTANTS,
            )


def _parsed(draft: Draft, notes: Notes, body: Body) -> ToolFile | None:
    """The file of a node, parsed once for all nodes that are made from it; None (and a finding for
    each of them) where that can't be done."""
    path = str(body.source.get("path"))
    if path not in draft.parsed:
        found = read_file(draft, notes, body)
        tree = parse_python(notes, *found, body.name) if found else None
        if found is None or tree is None:
            return None
        file, text = found
        draft.parsed[path] = ToolFile(file, tree, read_source(text, str(file)).tools)
    return draft.parsed[path]


def read_file(draft: Draft, notes: Notes, body: Body) -> tuple[Path, str] | None:
    """The file of a node's source and its text; None (and a finding) where it can't be read."""
    path: Any = body.source.get("path")
    at = (*body.at, "source", "path")
    file = draft.locate(path) if isinstance(path, str) else None
    if file is None:
        near = _near_file(draft.flow.root, path) if isinstance(path, str) else None
        notes.error(
            "InvalidSource",
            f"Node source path '{path}' is invalid on node '{body.name}': there is no such file.",
            *at,
            node=body.name,
            remedy=f"Did you mean {near}?" if near else "Correct it, or put the file there.",
        )
        return None
    try:
        return file, file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"'{path}' is not UTF-8 at byte {error.start}."
    except OSError as error:
        message = f"'{path}' can't be read: {error.strerror}."
    notes.error("InvalidSource", message, *at, node=body.name, remedy="Write it again as UTF-8.")
    return None


def parse_python(notes: Notes, file: Path, text: str, node: str | None) -> ast.Module | None:
    """The syntax tree of `file`; None (and a finding) where it is not Python."""
    line = column = 0
    try:
        return ast.parse(text, file.name)
    except SyntaxError as error:
        line, column = error.lineno or 0, error.offset or 0
        told = f"(SyntaxError) {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes, endless nesting
        told = f"({type(error).__name__}) {error}"
    notes.in_file(
        "error",
        "PythonLoadError",
        f"Failed to load python module from file '{file.name}': {told}",
        file,
        line,
        column,
        remedy="Correct the line.",
        node=node,
    )
    return None


def _near_file(root: Path, path: str) -> str | None:
    suffix = Path(path).suffix
    files = [item.relative_to(root).as_posix() for item in sorted(root.glob(f"*{suffix}"))]
    near = nearest(path, files[:200]) if re.fullmatch(r"\.\w+", suffix) else []
    return near[0] if near else None


def _parameters(draft: Draft, notes: Notes, body: Body, tool: Signature) -> None:
    """What the node gives is what the tool takes."""
    inputs = body.inputs
    for name, item in inputs.items():
        at = (*body.at, "inputs", name)
        parameter = tool.parameters.get(name)
        if parameter is None:
            if not tool.takes_any:
                near = nearest(name, tool.parameters)
                hint = near or list(tool.parameters)
                notes.error(
                    "UnknownParameter",
                    f"The tool '{tool.function}' takes no '{name}'.",
                    *at,
                    node=body.name,
                    remedy=f"It takes {', '.join(hint)}." if hint else "It takes nothing.",
                )
            continue
        if isinstance(item, Literal):
            _literal(notes, body, name, item.value, parameter.kind, bool(parameter.connections))
        elif isinstance(item, InputReference) and not parameter.connections:
            kind = str(draft.inputs.get(item.name, {}).get("type"))
            if (kind, parameter.kind) in CLASHES:
                notes.warning(
                    "TypeMismatch",
                    f"The input '{item.name}' is {kind}, and '{tool.function}' says that "
                    f"'{name}' is {parameter.kind}. Nothing converts it.",
                    *at,
                    node=body.name,
                    remedy="Correct one of the types, or convert the value in the tool.",
                )
    for name, parameter in tool.parameters.items():
        given = inputs.get(name)
        empty = given is None or (isinstance(given, Literal) and given.value in (None, ""))
        if empty and not parameter.has_default and not parameter.connections:
            tell = notes.warning if body.optional else notes.error
            tell(
                "MissingRequiredInputs",
                f"The tool '{tool.function}' needs '{name}', and node '{body.name}' gives none.",
                *(*body.at, "inputs"),
                node=body.name,
                remedy=f"Write `{name}: …` under its inputs, or give the parameter a default.",
            )


def _literal(
    notes: Notes, body: Body, name: str, value: object, kind: str, connection: bool
) -> None:
    from_environment = isinstance(value, str) and value.startswith("${env:")
    if connection or from_environment or value in (None, ""):
        return
    try:
        parse(kind, value)
    except (ValueError, TypeError, OverflowError, RecursionError):
        notes.error(
            "NodeInputValidationError",
            f"Input '{name}' for node '{body.name}' of value '{value}' is not type {kind}.",
            *(*body.at, "inputs", name),
            node=body.name,
            remedy=f"Write a value that is {kind}.",
        )
