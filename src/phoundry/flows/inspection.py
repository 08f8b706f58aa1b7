"""The tools of a flow, read without running them: files, syntax, signatures, literals' types."""

from __future__ import annotations

from collections.abc import Mapping

from phoundry.flows.errors import (
    FlowError,
    FlowUserError,
    InvalidSource,
    MultipleToolsDefined,
    NodeInputValidationError,
    PythonLoadError,
    UnknownTool,
)
from phoundry.flows.includes import is_there
from phoundry.flows.model import Flow, Node
from phoundry.flows.reference import Literal
from phoundry.flows.signature import Signature, read_source
from phoundry.flows.values import parse

SOURCE_TYPES = ("code", "package", "package_with_prompt")
# By node type: what its source may be. Prompt flow does not look where nothing stands.
SOURCES: Mapping[str, tuple[str, ...]] = {
    "python": ("code", "package"),
    "custom_llm": ("package_with_prompt",),
    "prompt": (),
    "llm": (),
}


def inspect_tools(flow: Flow) -> tuple[dict[str, Signature], list[FlowError]]:
    """Signatures by node, and every fault in node order."""
    signatures: dict[str, Signature] = {}
    errors: list[FlowError] = [*_includes(flow)]
    files = _Files(flow)
    for node in flow.nodes:
        if node.type == "flow":
            continue  # its own loader looks at what it runs
        try:
            _check_kind(node)
            packaged = _packaged_signature(node)
            if packaged is not None:
                check_literals(node, packaged)
                signatures[node.name] = packaged
            elif node.type == "python":
                signature = _python_signature(files, node)
                if signature:
                    check_literals(node, signature)
                    signatures[node.name] = signature
            else:
                files.read(node)
        except FlowError as error:
            error.where = error.where or flow.where(node.line)
            errors.append(error.in_node(node.name))
    return signatures, errors


def read_file(flow: Flow, node: Node) -> tuple[str, str]:
    """Path and text of the file that `node` is made from.

    Raises:
        InvalidSource: there is no such file, or it is not UTF-8.
    """
    named = node.source.path if node.source else None
    file = flow.locate(named) if named else None
    if file is None:
        raise InvalidSource(
            f"Node source path '{named}' is invalid on node '{node.name}'.",
            remedy=f"Put the file into {flow.root}, or correct `source.path`.",
        )
    try:
        return str(file), file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSource(
            f"Node source path '{named}' is not UTF-8 at byte {error.start}, on node '{node.name}'."
        ) from None


class _Files:
    """The files of a flow's nodes, each read and parsed once: many nodes may be made from one."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._read: dict[str | None, tuple[str, str]] = {}
        self._tools: dict[str, tuple[Signature, ...] | Exception] = {}

    def read(self, node: Node) -> tuple[str, str]:
        """As `read_file`."""
        named = node.source.path if node.source else None
        if named not in self._read:
            self._read[named] = read_file(self._flow, node)
        return self._read[named]

    def tools(self, file: str, text: str) -> tuple[Signature, ...] | Exception:
        """The tools in `file`, or why there is no telling."""
        if file not in self._tools:
            try:
                self._tools[file] = read_source(text, file).tools
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                self._tools[file] = error  # null bytes and endless nesting are among them
        return self._tools[file]


def check_literals(node: Node, signature: Signature) -> None:
    """Every literal input fits the annotation of its parameter.

    Raises:
        NodeInputValidationError: one does not.
    """
    for name, reference in node.inputs.items():
        if isinstance(reference, Literal):
            literal_value(node, signature, name, reference.value)


def literal_value(node: Node, signature: Signature | None, name: str, value: object) -> object:
    """A literal as its parameter wants it; parameters that take any name get it as written.

    Raises:
        NodeInputValidationError: it does not fit.
    """
    parameter = signature.parameters.get(name) if signature else None
    if parameter is None or parameter.connections or value in (None, ""):
        return value
    try:
        return parse(parameter.kind, value)
    except (ValueError, TypeError, OverflowError):
        raise NodeInputValidationError(
            f"Input '{name}' for node '{node.name}' of value '{value}' is not type "
            f"{parameter.kind}."
        ) from None


def _check_kind(node: Node) -> None:
    if node.source is None:
        raise FlowUserError(f"Node {node.name} does not have source defined.")
    fitting = SOURCES.get(str(node.type))
    if fitting is None:
        raise UnknownTool(
            f"Tool type {node.type} is not supported yet.",
            remedy="Give the node `type: python`, `prompt` or `llm`.",
        )
    if fitting and node.source.type not in fitting:
        raise UnknownTool(
            f"Tool source type {node.source.type} for {node.type} tool is not supported yet.",
            remedy=f"Write `source.type: {fitting[0]}`.",
        )


def _packaged_signature(node: Node) -> Signature | None:
    """Of a package's tool, read from its description; None for other nodes.

    A package that is not installed here may be where the flow runs, so that is no fault yet.
    """
    if node.source is None or node.type not in ("python", "custom_llm"):
        return None
    if node.source.type == "code":
        return None
    from phoundry.flows.tools.packages import describe, guessed, signature_of

    description = describe(str(node.source.tool))
    return guessed(node) if description is None else signature_of(description)


def _python_signature(files: _Files, node: Node) -> Signature | None:
    file, text = files.read(node)
    tools = files.tools(file, text)
    if isinstance(tools, Exception):
        line = tools.lineno if isinstance(tools, SyntaxError) else None
        kind = "SyntaxError" if isinstance(tools, SyntaxError) else type(tools).__name__
        raise PythonLoadError(
            f"Failed to load python module from file '{file}': ({kind}) {tools}",
            where=f"{node.source.path if node.source else file}:{line}" if line else None,
        )
    if len(tools) > 1:
        raise two_tools([tool.function for tool in tools])
    return tools[0] if tools else None


def two_tools(names: list[str]) -> MultipleToolsDefined:
    return MultipleToolsDefined(
        f"Expected 1 but collected {len(names)} tools: {', '.join(names)}. "
        "Please make sure you have one and only one tool definition in your script."
    )


def _includes(flow: Flow) -> list[FlowError]:
    return [
        InvalidSource(
            f"Unable to find additional include {item}.",
            remedy="Correct the path (it is relative to the flow's folder) or drop the line.",
            where=flow.file.name,
        )
        for item in flow.additional_includes
        if not is_there(flow.root / item)
    ]
