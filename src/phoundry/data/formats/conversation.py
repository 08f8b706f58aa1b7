"""`messages`: OpenAI's chat format, and our own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

from phoundry.data.formats.fields import add_tools, list_of, missing, with_system
from phoundry.data.formats.fixes import Convert, Fixes
from phoundry.data.json_text import named
from phoundry.data.messages import check_turns, read_messages_list
from phoundry.data.row import BadRow, Row


def converter(mapping: Mapping[str, str]) -> Convert:
    column = mapping["messages"]
    tools = mapping.get("tools", "tools")
    system = mapping.get("system")

    def convert(row: dict[str, Any], fixes: Fixes) -> Row:
        value = row.get(column)
        if value is None and column not in row:
            raise missing(row, column, "messages")
        if type(value) is str:
            value = list_of(value)
        messages = read_messages_list(value, column)
        if system is not None:
            messages = with_system(messages, row, system, fixes)
        check_turns(messages, column)
        result: Row = {"messages": messages}
        if tools in row or "functions" in row:
            add_tools(result, row, tools)
        return result

    return convert


def read_conversation(value: Any) -> Row:
    """The conversation of a canonical row. Raises BadRow."""
    if not isinstance(value, dict):
        raise BadRow("not an object", f"not an object but {named(value)}")
    return cast("Row", _canonical(cast("dict[str, Any]", value), Counter()))


_canonical = converter({"messages": "messages"})
