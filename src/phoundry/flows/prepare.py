"""From nodes to steps: tools imported, literals converted, connections built."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

from phoundry.flows.errors import (
    FlowError,
    GetConnectionError,
    NodeInputValidationError,
    raise_together,
)
from phoundry.flows.inspection import literal_value
from phoundry.flows.model import Flow, Node
from phoundry.flows.reference import Literal
from phoundry.flows.schedule import Step
from phoundry.flows.signature import Parameter, Signature


@dataclass(frozen=True, slots=True)
class Connections:
    """`chosen` says which connection fills `node.input`; `values` are `{name, type, configs,
    secrets}` by name. `overrides` are other settings of llm nodes, such as `node.model`."""

    chosen: Mapping[str, str] = field(default_factory=dict[str, str])
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    overrides: Mapping[str, str] = field(default_factory=dict[str, str])

    def get(self, node: str, name: str, connection: str | None) -> Mapping[str, Any]:
        """The values of the connection for `node.name`.

        Raises:
            GetConnectionError: none is chosen, or the chosen one is not there.
        """
        wanted = self.chosen.get(f"{node}.{name}") or connection
        if wanted is None:
            raise GetConnectionError(
                f"No connection is given for the input '{name}' of node '{node}'.",
                remedy=f"Choose one with: --connections {node}.{name}=NAME",
            )
        if wanted not in self.values:
            raise GetConnectionError(
                f"Get connection '{wanted}' for node '{node}' error: there is no such connection.",
                remedy="Make it with: phoundry connection create -f connection.yaml",
            )
        return self.values[wanted]


def prepare(flow: Flow, connections: Connections) -> list[Step]:
    """A step for every node, in the file's order.

    Raises:
        FlowError: of the first node whose tool does not load, with the others' in `others`.
    """
    steps: list[Step] = []
    errors: list[FlowError] = []
    for node in flow.nodes:
        with _collecting(errors, flow, node):
            steps.append(_step(flow, node, connections))
    raise_together(errors)
    return steps


def _step(flow: Flow, node: Node, connections: Connections) -> Step:
    if node.type == "prompt":
        from phoundry.flows.tools.prompt import prompt_step

        return replace(prompt_step(flow, node), quick=True)
    if node.type == "llm":
        from phoundry.flows.tools.llm import llm_step

        return llm_step(flow, node, connections)
    if node.type == "flow":
        from phoundry.flows.extensions.subflow import flow_step

        return flow_step(flow, node, connections)
    return _python_step(flow, node, connections)


def _python_step(flow: Flow, node: Node, connections: Connections) -> Step:
    """The step of a node of Python code: the flow's own, or a package's."""
    from phoundry.flows.tools import python

    packaged = node.source is not None and node.source.type != "code"
    if packaged:
        from phoundry.flows.tools.packaged import load_packaged

        tool, signature, module = load_packaged(flow, node)
    else:
        tool, signature, module = python.load_tool(flow, node)
    constants = _constants(flow, node, signature)
    for name, parameter in signature.parameters.items():
        if parameter.connections:
            value = _connection(node, parameter, constants.pop(name, None), connections, module)
            if value is not None:
                constants[name] = value
    references = {name: item for name, item in node.inputs.items() if not isinstance(item, Literal)}
    method: Any = getattr(tool, "func", tool)  # of a partial: its prompt is filled in already
    if isinstance(method, python.Method):
        method.start(references, constants)
    return Step(
        node,
        python.Call(node.name, tool),
        references,
        constants,
        frozenset(name for name, item in signature.parameters.items() if item.has_default),
    )


def _constants(flow: Flow, node: Node, signature: Signature) -> dict[str, Any]:
    """The literals, converted. Empty ones are dropped, so that the parameter's default applies."""
    constants: dict[str, Any] = {}
    for name, item in node.inputs.items():
        if isinstance(item, Literal) and item.value is not None and item.value != "":
            value = literal_value(node, signature, name, item.value)
            parameter = signature.parameters.get(name)
            kind = parameter.kind if parameter else "string"
            constants[name] = _with_images(flow, kind, name, value)
    return constants


def _with_images(flow: Flow, kind: str, name: str, value: Any) -> Any:
    if kind != "image" and not isinstance(value, dict | list):
        return value
    from phoundry.flows.multimedia import load_images, make_image

    make = make_image if kind == "image" else load_images
    try:
        return make(value, flow.message_format)
    except (FlowError, OSError, ValueError) as error:
        text = error.message if isinstance(error, FlowError) else str(error)
        raise NodeInputValidationError(
            f"Failed to load image for input '{name}': ({type(error).__name__}) {text}"
        ) from None


def _connection(
    node: Node,
    parameter: Parameter,
    written: Any,
    connections: Connections,
    module: ModuleType,
) -> Any:
    """The connection object for `parameter`; None to leave it to a reference or its default."""
    from phoundry.flows.provided.connections import build

    if not isinstance(node.inputs.get(parameter.name, Literal(None)), Literal):
        return None
    chosen = f"{node.name}.{parameter.name}" in connections.chosen
    if parameter.has_default and written is None and not chosen:
        return None
    values = connections.get(node.name, parameter.name, written)
    where = f"Input '{parameter.name}' for node '{node.name}'"
    strong = getattr(module, parameter.strong_type) if parameter.strong_type else None
    return build(values, accepts=parameter.connections, strong=strong, where=where)


@contextmanager
def _collecting(errors: list[FlowError], flow: Flow, node: Node) -> Generator[None]:
    try:
        yield
    except FlowError as error:
        error.where = error.where or flow.where(node.line)
        errors.append(error.in_node(node.name))
