"""Calls of tools in messages, and the tools that a conversation may call: OpenAI's forms.

`arguments` are kept as JSON text of an object, whichever of the two a source has. A call without an
id gets one from its place, so that the same row always has the same bytes.
"""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from phoundry.data.json_text import dump_json, encodable, named, parse_json, short
from phoundry.data.row import BadRow, ChatMessage, ToolCall

Faults: TypeAlias = list[tuple[str, str]]


def read_calls(
    where: str, message: dict[str, Any], before: list[ChatMessage], faults: Faults
) -> list[ToolCall]:
    """The calls of one message in the order of the source; what is wrong goes to `faults`."""
    value = message.get("tool_calls")
    if value is None and message.get("function_call") is not None:
        value = [message["function_call"]]
    if value is None or value == []:
        return []
    if not isinstance(value, list):
        faults.append(("tool calls", f"{where}: 'tool_calls' is not a list but {named(value)}"))
        return []
    start = sum(len(earlier.get("tool_calls", ())) for earlier in before)
    calls: list[ToolCall] = []
    for index, item in enumerate(cast("list[Any]", value)):
        place = f"{where}.tool_calls[{index}]"
        try:
            calls.append(_call(item, f"call_{start + index + 1}"))
        except BadRow as bad:
            faults.append((bad.kind, f"{place}: {bad.reason}"))
    return calls


def read_tools(value: Any) -> list[dict[str, Any]]:
    """The tools that a row offers: a list, or JSON text of one; `null` and empty are none.

    Raises:
        BadRow: something in it is no tool.
    """
    if isinstance(value, str):
        value = parse_json(value) if value.strip() else None
    if value is None:
        return []
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise BadRow("tools", f"'tools' is not a list but {named(value)}")
    return [_tool(i, item) for i, item in enumerate(cast("list[Any]", value))]


def _call(item: Any, default_id: str) -> ToolCall:
    if not isinstance(item, dict):
        raise BadRow("tool calls", f"not an object but {named(item)}")
    call = cast("dict[str, Any]", item)
    function = call.get("function", call)
    if not isinstance(function, dict):
        raise BadRow("tool calls", f"'function' is not an object but {named(function)}")
    held = cast("dict[str, Any]", function)
    name = held.get("name")
    if not isinstance(name, str) or not name or not encodable(name):
        raise BadRow("tool calls", "no 'name' of a function")
    identifier = call.get("id")
    if identifier is not None and (not isinstance(identifier, str) or not encodable(identifier)):
        raise BadRow("tool calls", f"'id' is not text but {named(identifier)}")
    return {
        "id": identifier or default_id,
        "type": "function",
        "function": {"name": name, "arguments": _arguments(held.get("arguments"))},
    }


def _arguments(value: Any) -> str:
    """JSON text of an object, as it was written where it was text."""
    parsed = parse_json(value) if isinstance(value, str) and value.strip() else value
    if parsed is None or parsed == "":
        return "{}"
    if not isinstance(parsed, dict):
        reason = f"'arguments' are not an object but {named(cast('Any', parsed))}"
        raise BadRow("tool call arguments", reason)
    text = dump_json(parsed, "'arguments'")
    return value if isinstance(value, str) and encodable(value) else text


def _tool(index: int, item: Any) -> dict[str, Any]:
    """`{"type": "function", "function": {"name", …}}`, also of a bare function."""
    if not isinstance(item, dict):
        raise BadRow("tools", f"tools[{index}] is not an object but {named(item)}")
    held = cast("dict[str, Any]", item)
    kind = held.get("type", "function")
    function = held.get("function") if "function" in held else held
    if "function" in held and kind != "function":
        raise BadRow("tools", f"tools[{index}] has the type {short(kind)}; 'function' is known")
    if not isinstance(function, dict):
        raise BadRow("tools", f"tools[{index}] has no function")
    body = {k: v for k, v in cast("dict[str, Any]", function).items() if v is not None}
    if not isinstance(body.get("name"), str) or not body["name"]:
        raise BadRow("tools", f"tools[{index}] has no 'name' of a function")
    dump_json(body, f"tools[{index}]")
    return {"type": "function", "function": body}
