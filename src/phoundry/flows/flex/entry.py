"""The entry of a flex flow, read from its source: parameters of the call and of the class."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phoundry.flows.model import FlowInput, FlowOutput
from phoundry.flows.reference import Literal

KINDS = {
    "int": "int",
    "float": "double",
    "bool": "bool",
    "str": "string",
    "list": "list",
    "List": "list",
    "Image": "image",
}
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class EntrySource:
    """`inputs` of the call and `init`, arguments of the class, with the annotation as `type` where
    it is no type of a value: `AzureOpenAIModelConfiguration`, `CustomConnection`. `typed` are those
    inputs whose types Prompt flow's commands hold values to."""

    file: Path
    inputs: Mapping[str, FlowInput] = field(default_factory=dict[str, FlowInput])
    init: Mapping[str, FlowInput] = field(default_factory=dict[str, FlowInput])
    outputs: Mapping[str, FlowOutput] = field(default_factory=dict[str, FlowOutput])
    typed: Mapping[str, FlowInput] = field(default_factory=dict[str, FlowInput])
    aggregates: bool = False
    line: int = 0


def read_entry(root: Path, module: str, name: str) -> EntrySource | None:
    """The entry `module:name` below `root`; None where the text does not show it: a package's
    module, a name that is made at run time, a file that is not Python."""
    file = root.joinpath(*module.split(".")).with_suffix(".py")
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
    except (OSError, SyntaxError, ValueError):
        return None  # importing it says what is wrong, with Prompt flow's code
    for item in tree.body:
        if isinstance(item, _Function) and item.name == name:
            outputs = _outputs(tree, item.returns)
            inputs = _parameters(item)
            return EntrySource(file, inputs, {}, outputs, _typed(item, inputs), line=item.lineno)
        if isinstance(item, ast.ClassDef) and item.name == name:
            return _of_class(file, tree, item)
    return None


def _of_class(file: Path, tree: ast.Module, item: ast.ClassDef) -> EntrySource:
    methods = {each.name: each for each in item.body if isinstance(each, _Function)}
    call, start = methods.get("__call__"), methods.get("__init__")
    inputs = _parameters(call) if call else {}
    return EntrySource(
        file,
        inputs,
        _parameters(start) if start else {},
        _outputs(tree, call.returns if call else None),
        _typed(call, inputs) if call else {},
        "__aggregate__" in methods,
        item.lineno,
    )


def _pairs(function: _Function) -> list[tuple[ast.arg, ast.expr | None]]:
    """The parameters with their defaults."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    gap = len(positional) - len(arguments.defaults)
    defaults: list[ast.expr | None] = [*([None] * gap), *arguments.defaults]
    pairs = [*zip(positional, defaults, strict=True)]
    return [*pairs, *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]


def _typed(function: _Function, inputs: Mapping[str, FlowInput]) -> dict[str, FlowInput]:
    """Those of `inputs` that a value is made to fit: not where the default is None or can't be
    read, nor where the annotation is of no type that a value can have."""
    found: dict[str, FlowInput] = {}
    for item, _ in _pairs(function):
        if item.arg not in inputs or inputs[item.arg].optional:
            continue
        names = _names(item.annotation) if item.annotation else ["dict"]
        kind = inputs[item.arg].type
        if kind in KINDS.values() or (kind == "object" and names in (["dict"], ["Dict"])):
            found[item.arg] = inputs[item.arg]
    return found


def _parameters(function: _Function) -> dict[str, FlowInput]:
    return {
        item.arg: FlowInput(
            type=_kind(item.annotation, value),
            default=_constant(value),
            is_chat_history=item.arg == "chat_history",
            line=item.lineno,
            optional=value is not None and _constant(value) is None,
        )
        for item, value in _pairs(function)
        if item.arg != "self"
    }


def _kind(annotation: ast.expr | None, default: ast.expr | None) -> str:
    if annotation is None:
        return KINDS.get(type(_constant(default)).__name__, "object")
    names = _names(annotation)
    if len(names) != 1:
        return "object"
    return KINDS.get(names[0], names[0] if names[0][:1].isupper() else "object")


def _names(node: ast.expr) -> list[str]:
    """The class names that an annotation allows, None left out: `Optional[int]` gives int."""
    if isinstance(node, ast.Constant):
        if not isinstance(node.value, str):
            return []
        try:
            return _names(ast.parse(node.value, mode="eval").body)
        except SyntaxError:
            return []
    if isinstance(node, ast.BinOp):
        return [*_names(node.left), *_names(node.right)]
    if isinstance(node, ast.Subscript):
        outer = _names(node.value)
        if outer not in (["Optional"], ["Union"]):
            return outer
        members = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return [name for member in members for name in _names(member)]
    if isinstance(node, ast.Attribute):
        return [node.attr]
    return [node.id] if isinstance(node, ast.Name) else []


def _constant(node: ast.expr | None) -> Any:
    try:
        return ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return None


def _outputs(tree: ast.Module, returns: ast.expr | None) -> dict[str, FlowOutput]:
    """The fields of the class that the entry says it returns; else one output."""
    names = _names(returns) if returns is not None else []
    for item in tree.body:
        if isinstance(item, ast.ClassDef) and names == [item.name]:
            fields = [each for each in item.body if isinstance(each, ast.AnnAssign)]
            return {
                each.target.id: FlowOutput(_value_kind(each.annotation), Literal(None))
                for each in fields
                if isinstance(each.target, ast.Name)
            }
    kind = _value_kind(returns) if returns is not None else "string"
    return {"output": FlowOutput(kind, Literal(None))}


def _value_kind(annotation: ast.expr) -> str:
    kind = _kind(annotation, None)
    return kind if kind in KINDS.values() else "object"
