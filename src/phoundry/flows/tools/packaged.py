"""A node that uses a package's tool: the function, ready to be called, and for a custom llm tool
the flow's own prompt in its place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

from phoundry.flows.errors import InvalidCustomLLMTool, PythonLoadError
from phoundry.flows.inspection import read_file
from phoundry.flows.model import Flow, Node
from phoundry.flows.provided.types import PromptTemplate
from phoundry.flows.signature import Signature
from phoundry.flows.tools.packages import Description, load, signature_of
from phoundry.flows.tools.prompt import parse_template, refuse_names
from phoundry.flows.tools.python import Method

Tool = Callable[..., Any]


def load_packaged(flow: Flow, node: Node) -> tuple[Tool, Signature, ModuleType]:
    """The tool that `node` names, its signature and its module.

    Raises:
        PackageToolNotFound, PythonLoadError: it is not installed, or does not import.
        InvalidCustomLLMTool: a custom llm tool without a parameter for its prompt.
        InvalidSource, NodeInputValidationError: its prompt is not there, or uses a name of the
            tool's own inputs.
    """
    module, description = load(node.source.tool if node.source else None)
    signature = signature_of(description)
    tool = _function(module, description)
    if node.type == "custom_llm":
        tool = _with_prompt(flow, node, tool, signature.parameters)
    return tool, signature, module


def _function(module: ModuleType, description: Description) -> Tool:
    name, owner = str(description.get("function")), description.get("class_name")
    try:
        if owner:
            return Method(getattr(module, str(owner)), name)
        return getattr(module, name)
    except AttributeError as error:
        raise PythonLoadError(
            f"The description of package tool '{description.get('name')}' is wrong: {error}."
        ) from None


def _with_prompt(flow: Flow, node: Node, tool: Tool, inputs: Mapping[str, Any]) -> Tool:
    file, text = read_file(flow, node)
    parse_template(text, (node.source.path if node.source else None) or file)
    refuse_names(node, text, inputs.keys(), "the inputs of custom llm tool")
    place = _prompt_parameter(tool)
    if place is None:
        raise InvalidCustomLLMTool(
            f"Invalid Custom LLM tool {node.source.tool if node.source else None}: function "
            f"{tool.__name__} is missing a prompt template argument.",
            remedy="Give it a parameter annotated `PromptTemplate` "
            "(from promptflow.contracts.types).",
        )
    return partial(tool, **{place: PromptTemplate(text)})


def _prompt_parameter(tool: Tool) -> str | None:
    for name, parameter in inspect.signature(tool).parameters.items():
        annotation = parameter.annotation
        if getattr(annotation, "__name__", annotation) == "PromptTemplate":
            return name
    return None
