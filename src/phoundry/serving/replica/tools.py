"""Tools in a request: what may be called, and whether it must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from phoundry.data import tool_calls
from phoundry.data.row import BadRow
from phoundry.serving.errors import bad_parameter
from phoundry.serving.replica.parameters import Parameters

Tool = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The tools that are offered. `forced`: one of `callable` must be called.

    `one`: at most one call is wanted.
    """

    tools: Sequence[Tool] = ()
    callable: Sequence[Tool] = ()
    forced: bool = False
    one: bool = False


def read_tools(items: Sequence[Any]) -> list[dict[str, Any]]:
    """OpenAI's function tools. Raises InvalidInput naming `tools`."""
    try:
        return tool_calls.read_tools(list(items))
    except BadRow as bad:
        raise bad_parameter("tools", f"cannot be used: {bad.reason}.") from None


def read_tool_use(parameters: Parameters, values: Mapping[str, Any]) -> ToolUse:
    """`tools`, `tool_choice` and `parallel_tool_calls` of a chat request.

    Raises InvalidInput naming what cannot be used.
    """
    tools = read_tools(parameters.sequence("tools"))
    choice = values.get("tool_choice")
    one = parameters.boolean("parallel_tool_calls") is False
    if choice not in (None, "none") and not tools:
        raise bad_parameter("tool_choice", "chooses among tools, and there are no 'tools'.")
    if choice == "none" or not tools:
        return ToolUse()
    if choice in (None, "auto"):
        return ToolUse(tools, tools, one=one)
    if choice == "required":
        return ToolUse(tools, tools, forced=True, one=one)
    name = _named(choice)
    chosen = [tool for tool in tools if tool["function"]["name"] == name]
    if name is None:
        raise parameters.bad(
            "tool_choice", choice, '"none", "auto", "required" or {"type": "function", …}'
        )
    if not chosen:
        raise bad_parameter("tool_choice", f"names {name!r}, which is not among the 'tools'.")
    return ToolUse(tools, chosen, forced=True, one=True)


def _named(choice: object) -> str | None:
    """The name in `{"type": "function", "function": {"name"}}`."""
    function: object = (
        cast(dict[str, Any], choice).get("function") if isinstance(choice, dict) else None
    )
    name: object = (
        cast(dict[str, Any], function).get("name") if isinstance(function, dict) else None
    )
    return name if isinstance(name, str) else None
