"""A list of messages, checked by OpenAI's rules and written in one way.

Plain messages (`role` and `content`) are by far the most, so they are looked at first and quickly.
What OpenAI has replaced is taken in its new form: the role `developer` is `system`, `function` is
`tool`, `function_call` is `tool_calls`, a list of text parts is their text. A key that is null is a
key that is not there, because Parquet writes every key in every message.
"""

from __future__ import annotations

from typing import Any, cast

from phoundry.data.json_text import encodable, named, short
from phoundry.data.row import BadRow, ChatMessage
from phoundry.data.tool_calls import Faults, read_calls
from phoundry.specs.chat import ROLES

# Of one row's faults, so many are told.
SHOWN = 3
_ROLES = frozenset(ROLES)
_REPLACED_ROLES = {"developer": "system", "function": "tool"}
_KEYS = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "weight", "function_call"}
)


def read_messages_list(value: Any, key: str = "messages") -> list[ChatMessage]:
    """The messages that the list `value` holds under `key`, not empty.

    Raises:
        BadRow: with the kind of its first fault and the reasons of the first three.
    """
    if not isinstance(value, list):
        raise BadRow(f"no {key}", f"'{key}' is not a list but {named(value)}")
    if not value:
        raise BadRow(f"no {key}", f"'{key}' is empty")
    items = cast("list[Any]", value)
    messages: list[ChatMessage] = []
    faults: Faults = []
    for index, item in enumerate(items):
        if type(item) is dict and len(cast("dict[str, Any]", item)) == 2:
            held = cast("dict[str, Any]", item)
            role, content = held.get("role"), held.get("content")
            if type(role) is str and role in _ROLES and type(content) is str and encodable(content):
                messages.append({"role": role, "content": content})
                continue
        message = _read(f"{key}[{index}]", item, messages, faults)
        if message is not None:
            messages.append(message)
    refuse(faults)
    return messages


def check_turns(messages: list[ChatMessage], key: str = "messages") -> None:
    """Some assistant turn must answer something, and be learnt. Raises BadRow."""
    answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    if not answers:
        reason = "no assistant message, so there is nothing to learn"
        raise BadRow("no assistant message", reason)
    if answers[0] == 0:
        reason = f"{key}[0] is an assistant message that answers nothing"
        raise BadRow("assistant message first", reason)
    learnt = [messages[i] for i in answers if messages[i].get("weight") != 0]
    if not learnt:
        reason = "every assistant message has the weight 0, so there is nothing to learn"
        raise BadRow("nothing to learn", reason)
    if not any(message["content"].strip() or message.get("tool_calls") for message in learnt):
        reason = "no assistant message that is learnt has text, so there is nothing to learn"
        raise BadRow("empty answer", reason)


def refuse(faults: Faults) -> None:
    """Raise BadRow for faults, if there are any."""
    if not faults:
        return
    reasons = [reason for _, reason in faults[:SHOWN]]
    if len(faults) > SHOWN:
        reasons.append(f"and {len(faults) - SHOWN} more")
    raise BadRow(faults[0][0], "; ".join(reasons))


def _read(where: str, item: Any, before: list[ChatMessage], faults: Faults) -> ChatMessage | None:
    """One message with all that it may have, or None with what is wrong in `faults`."""
    if not isinstance(item, dict):
        faults.append(("message not an object", f"{where} is not an object but {named(item)}"))
        return None
    held = cast("dict[str, Any]", item)
    found = len(faults)
    calls = read_calls(where, held, before, faults)
    for key in ("role", "content"):
        if key not in held and not (key == "content" and calls):
            faults.append((f"no {key}", f"{where} has no '{key}'"))
    for key in held:
        if key not in _KEYS and held[key] is not None:
            faults.append(("unknown message key", f"{where} has the unknown key {short(key)}"))
    role = _role(where, held.get("role", "user"), faults)
    content = _content(where, held.get("content", ""), bool(calls), faults)
    message: ChatMessage = {"role": role, "content": content}
    _optional(where, held, message, before, faults)
    if calls:
        message["tool_calls"] = calls
        if role != "assistant":
            faults.append(("tool calls", f"{where} has tool calls and is not an assistant message"))
    return message if len(faults) == found else None


def _role(where: str, role: Any, faults: Faults) -> str:
    if isinstance(role, str):
        role = _REPLACED_ROLES.get(role, role)
        if role in _ROLES:
            return role
    known = ", ".join(ROLES)
    faults.append(("unknown role", f"{where} has the role {short(role)}; known are {known}"))
    return ""


def _content(where: str, content: Any, has_calls: bool, faults: Faults) -> str:
    if content is None and has_calls:
        return ""
    if isinstance(content, list):
        content = _joined(cast("list[Any]", content))
    if not isinstance(content, str):
        faults.append(("content not text", f"{where}: content is not text but {named(content)}"))
    elif not encodable(content):
        faults.append(("not Unicode", f"{where}: content has half a surrogate pair"))
    else:
        return content
    return ""


def _joined(parts: list[Any]) -> str | list[Any]:
    """The text of parts that are all text, or the parts."""
    texts: list[str] = []
    for part in parts:
        if not isinstance(part, dict):
            return parts
        held = cast("dict[str, Any]", part)
        if held.get("type") != "text" or not isinstance(held.get("text"), str):
            return parts
        texts.append(held["text"])
    return "".join(texts)


def _optional(
    where: str,
    held: dict[str, Any],
    message: ChatMessage,
    before: list[ChatMessage],
    faults: Faults,
) -> None:
    """`name`, `tool_call_id` and `weight`, where they are there."""
    for key in ("name", "tool_call_id"):
        text = held.get(key)
        if text is None:
            continue
        if not isinstance(text, str) or not text or not encodable(text):
            faults.append((f"bad {key}", f"{where}: '{key}' is not text but {named(text)}"))
        elif key == "name":
            message["name"] = text
        else:
            message["tool_call_id"] = text
    weight = held.get("weight")
    if weight is None:
        return
    if isinstance(weight, bool) or weight not in (0, 1):
        faults.append(("bad weight", f"{where} has the weight {short(weight)}; 0 and 1 are known"))
    elif message["role"] != "assistant":
        faults.append(("bad weight", f"{where} has a weight and is not an assistant message"))
    else:
        message["weight"] = int(weight)
