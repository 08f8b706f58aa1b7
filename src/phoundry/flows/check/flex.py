"""Flex flows: the entry, its parameters and what the file declares. Parsed, never imported."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phoundry.errors import nearest
from phoundry.flows.check import keys
from phoundry.flows.check.finding import Finding, Notes
from phoundry.flows.check.imports import check_imports
from phoundry.flows.check.keys import check_keys
from phoundry.flows.check.needs import Known, check_variables
from phoundry.flows.check.requirements import FILE, check_requirements
from phoundry.flows.check.sources import parse_python
from phoundry.flows.document import Document, is_list, is_mapping
from phoundry.flows.values import VALUE_TYPES

Callee = ast.FunctionDef | ast.AsyncFunctionDef


def check_flex(document: Document, known: Known) -> list[Finding]:
    """Every fault of the flex flow in `document`."""
    notes = Notes(document)
    check_keys(notes, document.data, keys.FLEX, (), "a flex flow")
    for section in ("init", "inputs", "outputs"):
        _declared(notes, section)
    _entry(notes, document)
    check_variables(notes)
    environment = document.data.get("environment")
    named = environment.get("python_requirements_txt") if is_mapping(environment) else None
    check_requirements(document.file.parent, notes, named if isinstance(named, str) else FILE)
    return notes.findings


def _declared(notes: Notes, section: str) -> None:
    content = notes.document.data.get(section)
    if content is None:
        return
    if not is_mapping(content):
        notes.error("FlowDefinitionError", f"`{section}` holds no `key: value` lines.", section)
        return
    for name, item in content.items():
        kind = item.get("type") if is_mapping(item) else None
        if section == "inputs" and kind is not None and kind not in VALUE_TYPES:
            hint = nearest(str(kind), VALUE_TYPES) or VALUE_TYPES
            message = f"'{kind}' is not a valid ValueType"
            at = (section, str(name), "type")
            notes.warning("ValueError", message, *at, remedy=f"Use {', '.join(hint)}.")


def _entry(notes: Notes, document: Document) -> None:
    entry: Any = document.data.get("entry")
    module, colon, name = str(entry or "").partition(":")
    if not isinstance(entry, str) or not module or not colon or not name:
        notes.error(
            "InvalidFlexFlowEntry" if entry else "FlowDefinitionError",
            f"`entry` is {entry!r}, which names no function or class.",
            "entry",
            remedy="Write `entry: MODULE:FUNCTION` or `entry: MODULE:CLASS`.",
        )
        return
    root = document.file.parent
    file = root.joinpath(*module.split(".")).with_suffix(".py")
    if not file.is_file():
        near = nearest(module, [item.stem for item in root.glob("*.py")])
        notes.error(
            "PythonLoadError",
            f"There is no {file.relative_to(root).as_posix()} for the entry '{entry}'.",
            "entry",
            remedy=f"Did you mean {near[0]}:{name}?" if near else "Put the module there.",
        )
        return
    _module(notes, document, file, name)


def _module(notes: Notes, document: Document, file: Path, name: str) -> None:
    try:
        text = file.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        notes.error("PythonLoadError", f"{file.name} can't be read: {error}.", "entry")
        return
    tree = parse_python(notes, file, text, None)
    if tree is None:
        return
    includes: Any = document.data.get("additional_includes")
    listed = [str(item) for item in includes] if is_list(includes) else []
    check_imports(document.file.parent, listed, notes, file, tree)
    found = _names(tree)
    if name not in found:
        if _star(tree):
            return  # it may come from a module
        near = nearest(name, found)
        notes.error(
            "InvalidFlexFlowEntry",
            f"{file.name} has no '{name}'.",
            "entry",
            remedy=f"Did you mean {near[0]}?" if near else "Define it there.",
        )
        return
    target = found[name]
    if isinstance(target, ast.ClassDef):
        methods = {item.name: item for item in target.body if isinstance(item, Callee)}
        if "__call__" not in methods and not target.bases:
            message = f"The class '{name}' has no `__call__`, and can't be called with a line."
            remedy = "Define `__call__`."
            notes.in_file(
                "error", "InvalidFlexFlowEntry", message, file, target.lineno, 1, remedy=remedy
            )
        if "__init__" in methods:
            _parameters(notes, "init", methods["__init__"], skip_self=True)
        if "__call__" in methods:
            _parameters(notes, "inputs", methods["__call__"], skip_self=True)
    elif isinstance(target, Callee):
        _parameters(notes, "inputs", target, skip_self=False)


def _names(tree: ast.Module) -> Mapping[str, ast.AST]:
    found: dict[str, ast.AST] = {}
    for item in ast.walk(tree):
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.setdefault(item.name, item)
        elif isinstance(item, ast.Import | ast.ImportFrom):
            for alias in item.names:
                found.setdefault(alias.asname or alias.name.partition(".")[0], item)
        elif isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store):
            found.setdefault(item.id, item)
    return found


def _star(tree: ast.Module) -> bool:
    return any(
        isinstance(item, ast.ImportFrom) and any(alias.name == "*" for alias in item.names)
        for item in ast.walk(tree)
    )


def _parameters(notes: Notes, section: str, function: Callee, *, skip_self: bool) -> None:
    """What the file declares is what the function takes."""
    declared: Any = notes.document.data.get(section)
    if not is_mapping(declared):
        return
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args][1 if skip_self else 0 :]
    names = [item.arg for item in (*positional, *arguments.kwonlyargs)]
    if arguments.kwarg is None:
        for name in declared:
            if str(name) not in names:
                near = nearest(str(name), names) or names
                remedy = f"It takes {', '.join(near)}." if near else "It takes nothing."
                message = f"`{section}` declares '{name}', which '{function.name}' does not take."
                notes.error("UnknownParameter", message, section, name, remedy=remedy)
    first = len(positional) - len(arguments.defaults)
    defaulted: set[str] = {item.arg for item in positional[first:]}
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    defaulted |= {item.arg for item, default in pairs if default is not None}
    for name in names:
        if name not in defaulted and name not in map(str, declared):
            message = f"'{function.name}' needs '{name}', which `{section}` does not declare."
            notes.warning("UndeclaredInput", message, section, remedy=f"Declare `{name}` there.")
