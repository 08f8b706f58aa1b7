"""The messages of a request: roles, text parts, calls of tools and their results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from phoundry.data import ChatMessage
from phoundry.data.tool_calls import Faults, read_calls
from phoundry.serving.errors import bad_parameter
from phoundry.specs.chat import ROLES, Role


def read_messages(items: Sequence[Any], where: str) -> list[ChatMessage]:
    """Each of `items`, which the request has at `where`. Raises InvalidInput naming the place."""
    messages: list[ChatMessage] = []
    for index, item in enumerate(items):
        messages.append(_message(item, f"{where}[{index}]", messages))
    return messages


def _message(item: object, where: str, before: list[ChatMessage]) -> ChatMessage:
    if not isinstance(item, dict):
        raise bad_parameter(where, 'must be an object with "role" and "content".')
    fields = cast(dict[str, Any], item)
    role = fields.get("role")
    if role == "developer":  # OpenAI's newer name of the same thing
        role = "system"
    if role not in ROLES:
        raise bad_parameter(f"{where}.role", f"is {role!r}; it must be one of {', '.join(ROLES)}.")
    calls = fields.get("tool_calls")
    content = "" if calls and fields.get("content") is None else fields.get("content")
    message = ChatMessage(role=cast(Role, role), content=_content(content, where))
    if calls:
        _add_calls(message, fields, where, before)
    for key in ("name", "tool_call_id"):
        value = fields.get(key)
        if value is not None and not isinstance(value, str):
            raise bad_parameter(f"{where}.{key}", "must be a string.")
    if role == "tool":
        _add_result_of(message, fields, before)
    return message


def _add_calls(
    message: ChatMessage, fields: dict[str, Any], where: str, before: list[ChatMessage]
) -> None:
    if message["role"] != "assistant":
        raise bad_parameter(f"{where}.tool_calls", "belong to a message of the assistant.")
    faults: Faults = []
    message["tool_calls"] = read_calls(where, fields, before, faults)
    for _, reason in faults:
        raise bad_parameter(f"{where}.tool_calls", f"cannot be used: {reason}.")


def _add_result_of(message: ChatMessage, fields: dict[str, Any], before: list[ChatMessage]) -> None:
    """The id of the call that a result answers, and the name of what was called: templates ask for
    the one or the other."""
    identifier, name = fields.get("tool_call_id"), fields.get("name")
    calls = [call for earlier in before for call in earlier.get("tool_calls", ())]
    called = [call["function"]["name"] for call in calls if call["id"] == identifier]
    if identifier:
        message["tool_call_id"] = identifier
    if name or called:
        message["name"] = name or called[-1]


def _content(content: object, where: str) -> str:
    """The text of a message: a string, or OpenAI's list of text parts."""
    if isinstance(content, str):
        return _checked(content, f"{where}.content")
    if not isinstance(content, list):
        raise bad_parameter(f"{where}.content", "must be a string or a list of text parts.")
    texts: list[str] = []
    for index, part in enumerate(cast(list[Any], content)):
        text = cast(dict[str, Any], part).get("text") if isinstance(part, dict) else None
        if not isinstance(text, str):
            raise bad_parameter(f"{where}.content[{index}]", 'must be {"type": "text", "text": …}.')
        texts.append(_checked(text, f"{where}.content[{index}]"))
    return "".join(texts)


def _checked(text: str, where: str) -> str:
    """JSON can write half of a pair of surrogates, which is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise bad_parameter(where, "is not Unicode: it has half a surrogate pair.") from None
    return text
