"""Tools and functions that a model is offered: checked before they are sent, as Prompt flow does,
so that a slip in a flow's YAML is named here and not by the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phoundry.flows.document import is_list, is_mapping
from phoundry.flows.errors import ToolValidationError
from phoundry.flows.tools.model_errors import ChatAPIInvalidFunctions, ChatAPIInvalidTools

Kind = type[ToolValidationError]
REMEDY = (
    "A tool is {type: function, function: {name, description, parameters: {type: object, "
    "properties: {…}}}}."
)


def checked_offers(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with `tools` (which win over `functions`) checked, and a choice of `auto` where
    there is none.

    Raises:
        ChatAPIInvalidTools, ChatAPIInvalidFunctions: what is wrong with which.
    """
    found = dict(settings)
    if "tools" in found:
        check_tools(found["tools"])
        found["tool_choice"] = _choice(found.get("tool_choice"), "function", ChatAPIInvalidTools)
        found.pop("functions", None)
        found.pop("function_call", None)
    elif "functions" in found:
        check_functions(found["functions"])
        found["function_call"] = _choice(found.get("function_call"), None, ChatAPIInvalidFunctions)
        found.pop("tool_choice", None)
    else:
        found.pop("tool_choice", None)
        found.pop("function_call", None)
    return found


def check_tools(tools: Any) -> None:
    if not is_list(tools) or not tools:
        raise ChatAPIInvalidTools("tools cannot be an empty list.", remedy=REMEDY)
    for number, tool in enumerate(tools):
        if not is_mapping(tool):
            raise ChatAPIInvalidTools(f"tool {number} '{tool}' is not a dict.", remedy=REMEDY)
        for key in ("type", "function"):
            if key not in tool:
                raise ChatAPIInvalidTools(
                    f"tool {number} '{tool}' does not have '{key}' property.", remedy=REMEDY
                )
        _check_function(number, tool["function"], ChatAPIInvalidTools)


def check_functions(functions: Any) -> None:
    if not is_list(functions) or not functions:
        raise ChatAPIInvalidFunctions("functions cannot be an empty list.", remedy=REMEDY)
    for number, function in enumerate(functions):
        _check_function(number, function, ChatAPIInvalidFunctions)


def _check_function(number: int, function: Any, kind: Kind) -> None:
    if not is_mapping(function):
        raise kind(f"function {number} '{function}' is not a dict.", remedy=REMEDY)
    for key in ("name", "parameters"):
        if key not in function:
            raise kind(
                f"function {number} '{function}' does not have '{key}' property.", remedy=REMEDY
            )
    parameters, name = function["parameters"], function["name"]
    if not is_mapping(parameters) or not {"type", "properties"} <= parameters.keys():
        raise kind(
            f"function {number} '{name}': its parameters are no JSON Schema with `type` and "
            "`properties`.",
            remedy=REMEDY,
        )
    if parameters["type"] != "object" or not is_mapping(parameters["properties"]):
        raise kind(
            f"function {number} '{name}': its parameters are not of `type: object` with "
            "`properties` of `name: schema` lines.",
            remedy=REMEDY,
        )


def _choice(choice: Any, inside: str | None, kind: Kind) -> Any:
    """`auto`, `none`, `required`, or a mapping that names a function."""
    if choice in (None, ""):
        return "auto"
    if choice in ("auto", "none", "required"):
        return choice
    named: Any = choice
    if is_mapping(choice) and inside is not None:
        named = choice.get(inside) if "type" in choice else None
    if not is_mapping(named) or "name" not in named:
        raise kind(
            f"The choice {choice!r} names no function.",
            remedy='Write auto, none, or {"type": "function", "function": {"name": …}}.'
            if inside
            else 'Write auto, none, or {"name": …}.',
        )
    return choice
