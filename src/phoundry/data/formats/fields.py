"""Parts of a row that several formats have: text, lists, the system turn, tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from phoundry.data.formats.fixes import Fixes
from phoundry.data.json_text import encodable, named, parse_json, short
from phoundry.data.row import AnyRow, BadRow, ChatMessage
from phoundry.data.tool_calls import read_tools
from phoundry.errors import nearest


def missing(row: Mapping[str, Any], column: str, what: str) -> BadRow:
    """The row has no such column, or null in it."""
    if column in row:
        return BadRow(f"no {what}", f"'{column}' is null")
    near = nearest(column, row, limit=1)
    if near:
        return BadRow(f"no {what}", f"no '{column}'; is {short(near[0])} meant?")
    found = ", ".join(short(key) for key in list(row)[:3])
    tail = f"; it has {found}" if found else ": the object is empty"
    return BadRow(f"no {what}", f"no '{column}'{tail}")


def text_of(value: Any, column: str, fixes: Fixes) -> str:
    """Text, or a number as text. Raises BadRow."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        fixes["number"] += 1
        return str(value)
    if not isinstance(value, str):
        raise BadRow("not text", f"'{column}' is not text but {named(value)}")
    if not encodable(value):
        raise BadRow("not Unicode", f"'{column}' has half a surrogate pair or bytes not of UTF-8")
    return value


def list_of(value: Any) -> Any:
    """The value; where it is JSON text of a list or an object, as in a cell of a table, that."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        return parse_json(value)
    return value


def as_messages(value: Any) -> Any:
    """The value; where it is JSON text of messages, those. Other JSON is text: an answer has it."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        parsed = parse_json(value)
    except BadRow:
        return value
    first: Any = parsed
    if isinstance(parsed, list):
        first = cast("list[Any]", parsed)[0] if parsed else None
    is_message = isinstance(first, dict) and not {"role", "from", "messages"}.isdisjoint(
        cast("dict[str, Any]", first)
    )
    return cast("Any", parsed) if is_message else value


def with_system(
    messages: list[ChatMessage], row: Mapping[str, Any], column: str, fixes: Fixes
) -> list[ChatMessage]:
    """The messages after the system turn of `column`, where that has text and they have none."""
    value = row.get(column)
    if value is None or value == "" or (messages and messages[0]["role"] == "system"):
        return messages
    text = text_of(value, column, fixes)
    return [{"role": "system", "content": text}, *messages] if text.strip() else messages


def add_tools(result: AnyRow, row: Mapping[str, Any], column: str) -> None:
    """Put the tools of `column` (or OpenAI's old `functions`) into the result, if there are any."""
    value = row.get(column)
    if value is None and column == "tools":
        value = row.get("functions")
    if value is not None and (tools := read_tools(value)):
        result["tools"] = tools
