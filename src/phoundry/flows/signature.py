"""What a tool takes, read from its source without importing it.

Importing runs the user's code, which only a session may do; `flow check`, the choice of connections
and the literals' types need no more than the text.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

# The connection classes that Prompt flow's tools name in annotations.
CONNECTION_CLASSES = (
    "CustomConnection",
    "OpenAIConnection",
    "AzureOpenAIConnection",
    "ServerlessConnection",
    "SerpConnection",
    "AzureAIServicesConnection",
    "AzureContentSafetyConnection",
    "CognitiveSearchConnection",
    "FormRecognizerConnection",
    "QdrantConnection",
    "WeaviateConnection",
)
PROVIDER_BASE = "ToolProvider"
STRONG_TYPE_BASE = "CustomStrongTypeConnection"
VALUE_KINDS = {
    "int": "int",
    "float": "double",
    "bool": "bool",
    "str": "string",
    "list": "list",
    "Secret": "secret",
    "PromptTemplate": "prompt_template",
    "FilePath": "file_path",
    "Image": "image",
    "AssistantDefinition": "assistant_definition",
}
CONSTANT_KINDS = {"int": "int", "float": "double", "bool": "bool", "str": "string"}
# Attributes that every connection has; reading one says nothing about its keys.
COMMON_ATTRIBUTES = frozenset({"name", "type", "configs", "secrets", "keys", "items", "get"})

ENUM_BASES = frozenset({"Enum", "IntEnum", "StrEnum", "Flag", "IntFlag"})

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a tool.

    `kind` is a value type of `values.VALUE_TYPES`; `connections` the connection classes that fit,
    when it takes one; `strong_type` the user's class derived from CustomStrongTypeConnection;
    `keys` the keys of the connection that the source is seen to read.
    """

    name: str
    kind: str = "object"
    has_default: bool = False
    connections: tuple[str, ...] = ()
    strong_type: str | None = None
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Signature:
    function: str
    parameters: Mapping[str, Parameter]
    takes_any: bool = False  # **kwargs
    line: int = 0


@dataclass(frozen=True, slots=True)
class ToolSource:
    """The tools that a file is seen to define: usually one, none when they are made at run time."""

    tools: tuple[Signature, ...] = field(default_factory=tuple[Signature, ...])


def read_source(text: str, filename: str) -> ToolSource:
    """The `@tool` functions of a Python file.

    Raises:
        SyntaxError: the text is not Python.
    """
    module = ast.parse(text, filename)
    reader = _Module(module)
    functions = [reader.signature(function) for function in reader.tool_functions()]
    return ToolSource((*functions, *reader.methods()))


class _Module:
    def __init__(self, tree: ast.Module) -> None:
        self.functions = {item.name: item for item in tree.body if isinstance(item, FunctionNode)}
        self.postponed = any(
            isinstance(item, ast.ImportFrom)
            and item.module == "__future__"
            and any(alias.name == "annotations" for alias in item.names)
            for item in tree.body
        )
        classes = [item for item in tree.body if isinstance(item, ast.ClassDef)]
        self.strong_types = {item.name for item in classes if STRONG_TYPE_BASE in _bases(item)}
        self.providers = [item for item in classes if PROVIDER_BASE in _bases(item)]
        self.enums = {item.name for item in classes if ENUM_BASES & _bases(item)}

    def tool_functions(self) -> Iterator[FunctionNode]:
        for function in self.functions.values():
            if any(_last_name(decorator) == "tool" for decorator in function.decorator_list):
                yield function

    def methods(self) -> Iterator[Signature]:
        """`@tool` methods of classes: they take the arguments of `__init__` as well."""
        for provider in self.providers:
            methods = {item.name: item for item in provider.body if isinstance(item, FunctionNode)}
            start = methods.get("__init__")
            before: Mapping[str, Parameter] = self.signature(start).parameters if start else {}
            for method in methods.values():
                if any(_last_name(decorator) == "tool" for decorator in method.decorator_list):
                    own = self.signature(method)
                    parameters = {**before, **own.parameters}
                    parameters.pop("self", None)
                    yield replace(own, parameters=parameters)

    def signature(self, function: FunctionNode) -> Signature:
        arguments = function.args
        positional = [*arguments.posonlyargs, *arguments.args]
        gap = len(positional) - len(arguments.defaults)
        defaults: list[ast.expr | None] = [*([None] * gap), *arguments.defaults]
        pairs = [*zip(positional, defaults, strict=True)]
        pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        parameters = {item.arg: self._parameter(function, item, value) for item, value in pairs}
        return Signature(
            function.name, parameters, arguments.kwarg is not None, line=function.lineno
        )

    def _parameter(
        self, function: FunctionNode, argument: ast.arg, default: ast.expr | None
    ) -> Parameter:
        names = _annotation_names(argument.annotation)
        strong = next((name for name in names if name in self.strong_types), None)
        connections = tuple(name for name in names if name in CONNECTION_CLASSES)
        if strong:
            connections = ("CustomConnection", *connections)
        takes_connection = bool(connections) and len(names) in (len(connections), 1)
        return Parameter(
            argument.arg,
            kind="object" if takes_connection else self._kind(names, argument.annotation, default),
            has_default=default is not None,
            connections=connections if takes_connection else (),
            strong_type=strong,
            keys=frozenset(self._keys(function, argument.arg, set())),
        )

    def _kind(self, names: list[str], annotation: ast.expr | None, default: ast.expr | None) -> str:
        if annotation is None and default is not None:
            return _kind_of_default(default)
        # Prompt flow sees text, not a type, in a quoted annotation and under
        # `from __future__ import annotations`, and converts nothing but JSON there.
        written_out = isinstance(annotation, ast.Name | ast.Attribute | ast.Subscript)
        if len(names) != 1 or not written_out or self.postponed or _has_text(annotation):
            return "object"
        return "string" if names[0] in self.enums else VALUE_KINDS.get(names[0], "object")

    def _keys(self, function: FunctionNode, name: str, seen: set[tuple[str, str]]) -> set[str]:
        """Keys read from the parameter `name`, here and in functions of the file it is given to."""
        if (function.name, name) in seen:
            return set()
        seen.add((function.name, name))
        keys: set[str] = set()
        for item in ast.walk(function):
            if isinstance(item, ast.Attribute) and _is_name(item.value, name):
                keys.add(item.attr)
            elif isinstance(item, ast.Subscript) and _is_bag(item.value, name):
                if isinstance(item.slice, ast.Constant) and isinstance(item.slice.value, str):
                    keys.add(item.slice.value)
            elif isinstance(item, ast.Call):
                callee = self.functions.get(_last_name(item.func) or "")
                for passed in _passed_as(item, callee, name) if callee else ():
                    keys |= self._keys(callee, passed, seen) if callee else set()
        return {key for key in keys - COMMON_ATTRIBUTES if not key.startswith("_")}


def _passed_as(call: ast.Call, callee: FunctionNode, name: str) -> Iterator[str]:
    """The parameters of `callee` that `call` fills with the variable `name`."""
    positional = [*callee.args.posonlyargs, *callee.args.args]
    for argument, parameter in zip(call.args, positional, strict=False):
        if _is_name(argument, name):
            yield parameter.arg
    for keyword in call.keywords:
        if keyword.arg and _is_name(keyword.value, name):
            yield keyword.arg


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _is_bag(node: ast.expr, name: str) -> bool:
    """`connection`, `connection.secrets` or `connection.configs`, before a `[…]`."""
    if isinstance(node, ast.Attribute) and node.attr in ("secrets", "configs"):
        return _is_name(node.value, name)
    return _is_name(node, name)


def _bases(item: ast.ClassDef) -> set[str]:
    return {name for base in item.bases if (name := _last_name(base))}


def _last_name(node: ast.expr) -> str | None:
    """`tool` of `tool`, `core.tool` and `tool(name="x")`."""
    if isinstance(node, ast.Call):
        return _last_name(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def _annotation_names(node: ast.expr | None) -> list[str]:
    """The class names an annotation allows, without None: `Optional[int]` gives `["int"]`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return _annotation_names(ast.parse(node.value, mode="eval").body)
        except SyntaxError:
            return []
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_annotation_names(node.left), *_annotation_names(node.right)]
    if isinstance(node, ast.Subscript):
        if _last_name(node.value) not in ("Optional", "Union"):
            return [f"{_last_name(node.value)}[]"]  # a container of something: not converted
        members = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return [name for member in members for name in _annotation_names(member)]
    name = _last_name(node) if node is not None else None
    return [name] if name else []


def _has_text(annotation: ast.expr) -> bool:
    """Whether a part of `annotation` is in quotes: `Optional["int"]`."""
    parts = ast.walk(annotation)
    return any(isinstance(item, ast.Constant) and isinstance(item.value, str) for item in parts)


def _kind_of_default(default: ast.expr) -> str:
    if isinstance(default, ast.UnaryOp) and isinstance(default.op, ast.USub | ast.UAdd):
        default = default.operand
    if isinstance(default, ast.List):
        return "list"
    if isinstance(default, ast.Constant):
        return CONSTANT_KINDS.get(type(default.value).__name__, "object")
    return "object"
