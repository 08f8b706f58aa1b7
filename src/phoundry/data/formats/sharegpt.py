"""ShareGPT: `{"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}`.

Conversations that were shared on the web and cut into parts are not tidy. Turns of one role that
follow each other are joined. A part that begins with an answer loses that answer, which answers
nothing. A turn without text is refused: to learn an empty answer is to learn silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from phoundry.data.formats.fields import add_tools, list_of, missing, with_system
from phoundry.data.formats.fixes import Convert, Fixes
from phoundry.data.json_text import encodable, named, parse_json, short
from phoundry.data.messages import check_turns, refuse
from phoundry.data.row import BadRow, ChatMessage, Row
from phoundry.data.tool_calls import Faults, read_calls

ROLES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(
        ("gpt", "assistant", "chatgpt", "bing", "bard", "model", "chatbot", "bot"), "assistant"
    ),
    **dict.fromkeys(("function_call", "tool_call"), "call"),
    **dict.fromkeys(
        ("observation", "tool", "tool_response", "function_response", "function"), "tool"
    ),
    "system": "system",
}


def converter(mapping: Mapping[str, str]) -> Convert:
    column = mapping["messages"]
    system, tools = mapping.get("system", "system"), mapping.get("tools", "tools")

    def convert(row: dict[str, Any], fixes: Fixes) -> Row:
        value = row.get(column)
        if value is None:
            raise missing(row, column, "conversations")
        messages, joined = read_turns(list_of(value), column)
        first = 1 if messages and messages[0]["role"] == "system" else 0
        begun = first
        while begun < len(messages) and messages[begun]["role"] == "assistant":
            begun += 1
        if first < begun < len(messages):
            del messages[first:begun]
        if system in row:
            messages = with_system(messages, row, system, fixes)
        check_turns(messages, column)
        result: Row = {"messages": messages}
        if tools in row:
            add_tools(result, row, tools)
        fixes["joined"] += joined
        fixes["answer first"] += first < begun
        return result

    return convert


def read_turns(value: Any, column: str) -> tuple[list[ChatMessage], bool]:
    """The messages of a list of turns, and whether some were joined. Raises BadRow."""
    if not isinstance(value, list):
        raise BadRow("no conversations", f"'{column}' is not a list but {named(value)}")
    if not value:
        raise BadRow("empty conversation", f"'{column}' is empty")
    messages: list[ChatMessage] = []
    faults: Faults = []
    joined = False
    for index, item in enumerate(cast("list[Any]", value)):
        where = f"{column}[{index}]"
        if not isinstance(item, dict):
            faults.append(("turn not an object", f"{where} is not an object but {named(item)}"))
            continue
        message = _turn(where, cast("dict[str, Any]", item), messages, faults)
        if message is not None:
            joined |= _append(messages, message)
    refuse(faults)
    return messages, joined


def _turn(
    where: str, item: dict[str, Any], before: list[ChatMessage], faults: Faults
) -> ChatMessage | None:
    """One turn as a message; None for one that is at fault or an empty system turn."""
    speaker, text = item.get("from"), item.get("value")
    role = ROLES.get(speaker.strip().lower()) if isinstance(speaker, str) else None
    if role is None:
        reason = f"{where} is from {short(speaker)}; known are human, gpt, system, tool, …"
        faults.append(("unknown role", reason if "from" in item else f"{where} has no 'from'"))
    elif not isinstance(text, str):
        reason = f"{where}: 'value' is not text but {named(text)}"
        faults.append(("value not text", reason if "value" in item else f"{where} has no 'value'"))
    elif not encodable(text):
        faults.append(("not Unicode", f"{where}: 'value' has half a surrogate pair"))
    elif role == "call":
        return _calling(where, text, before, faults)
    elif text.strip() or role == "tool":
        return _message(where, role, text, item, before, faults)
    elif role != "system":
        faults.append(("empty turn", f"{where} (from {short(speaker)}) has no text"))
    return None


def _message(
    where: str,
    role: str,
    text: str,
    item: dict[str, Any],
    before: list[ChatMessage],
    faults: Faults,
) -> ChatMessage:
    message: ChatMessage = {"role": role, "content": text}
    if role == "tool" and (identifier := _open_call(before)):
        message["tool_call_id"] = identifier
    weight = item.get("weight")
    if role == "assistant" and weight is not None:
        if isinstance(weight, bool) or weight not in (0, 1):
            reason = f"{where} has the weight {short(weight)}; 0 and 1 are known"
            faults.append(("bad weight", reason))
        else:
            message["weight"] = int(weight)
    return message


def _calling(
    where: str, text: str, before: list[ChatMessage], faults: Faults
) -> ChatMessage | None:
    """A turn from `function_call`: JSON of one call or a list of them."""
    try:
        value = parse_json(text)
    except BadRow as bad:
        faults.append(("tool calls", f"{where}: {bad.reason}"))
        return None
    found = len(faults)
    calls = read_calls(
        where, {"tool_calls": value if isinstance(value, list) else [value]}, before, faults
    )
    if not calls:
        if len(faults) == found:
            faults.append(("tool calls", f"{where} calls no function"))
        return None
    return {"role": "assistant", "content": "", "tool_calls": calls}


def _open_call(before: list[ChatMessage]) -> str | None:
    """The first call that no tool message has answered yet."""
    answered = {message.get("tool_call_id") for message in before}
    calls = (call["id"] for message in before for call in message.get("tool_calls", ()))
    return next((identifier for identifier in calls if identifier not in answered), None)


def _append(messages: list[ChatMessage], message: ChatMessage) -> bool:
    """Add the message; whether it was joined with the one before."""
    last = messages[-1] if messages else None
    if last is None or last["role"] != message["role"] or message["role"] == "tool":
        messages.append(message)
        return False
    if "tool_calls" in last or last.get("weight") != message.get("weight"):
        messages.append(message)
        return False
    texts = [text for text in (last["content"], message["content"]) if text]
    last["content"] = "\n\n".join(texts)
    if "tool_calls" in message:
        last["tool_calls"] = message["tool_calls"]
        return False  # words and a call: one message in OpenAI's form too
    return True
