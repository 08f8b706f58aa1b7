"""One line of a `messages` file: the bytes in, messages out, or everything that is wrong."""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypedDict, cast

from phoundry.errors import nearest
from phoundry.specs.chat import ROLES, Message

# Of one row's faults, so many are told.
SHOWN = 3
KEYS = tuple(Message.model_fields)


class ChatMessage(TypedDict):
    """One message, as the row holds it and as chat templates take it."""

    role: str
    content: str


class Row(TypedDict):
    """One conversation."""

    messages: list[ChatMessage]


class BadRow(Exception):
    """Why a row can't be used. Never leaves this room: `rows` makes a fault with a line of it."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def parse_row(line: bytes) -> Row:
    """The conversation of one line.

    Raises:
        BadRow: with the kind of its first fault and the reasons of the first three.
    """
    value = _load(line)
    if not isinstance(value, dict):
        raise BadRow("not an object", f"not an object but {_named(value)}")
    row = cast("dict[str, Any]", value)
    if "messages" not in row:
        raise BadRow("no messages", _no_messages(row))
    messages = row["messages"]
    if not isinstance(messages, list):
        raise BadRow("no messages", f"'messages' is not a list but {_named(messages)}")
    if not messages:
        raise BadRow("no messages", "'messages' is empty")
    items = cast("list[Any]", messages)
    faults = [fault for i, item in enumerate(items) for fault in _faults(i, item)]
    if not faults:
        faults = _turn_faults([item["role"] for item in items])
    if faults:
        reasons = [reason for _, reason in faults[:SHOWN]]
        if len(faults) > SHOWN:
            reasons.append(f"and {len(faults) - SHOWN} more")
        raise BadRow(faults[0][0], "; ".join(reasons))
    return Row(messages=[ChatMessage(role=i["role"], content=i["content"]) for i in items])


def _load(line: bytes) -> Any:
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        byte = line[error.start]
        reason = f"not UTF-8: byte 0x{byte:02x} (byte {error.start + 1} of the line)"
        raise BadRow("not UTF-8", reason) from None
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        reason = f"not JSON: {error.msg} (column {error.colno})"
        raise BadRow("not JSON", reason) from None
    except RecursionError:
        raise BadRow("not JSON", "JSON that is nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise BadRow("not JSON", f"not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise BadRow("not JSON", f"not JSON: {name} is no JSON value")


def _no_messages(row: dict[str, Any]) -> str:
    near = nearest("messages", row, limit=1)
    if near:
        return f"no 'messages'; is {_short(near[0])} meant?"
    found = ", ".join(_short(key) for key in list(row)[:SHOWN])
    return f"no 'messages'; it has {found}" if found else "no 'messages': the object is empty"


def _faults(index: int, item: Any) -> list[tuple[str, str]]:
    """(kind, reason) of all that is wrong with one message alone."""
    where = f"messages[{index}]"
    if not isinstance(item, dict):
        return [("message not an object", f"{where} is not an object but {_named(item)}")]
    message = cast("dict[str, Any]", item)
    faults = [
        (f"no {key}", f"{where} has no '{key}'")
        for key in ("role", "content")
        if key not in message
    ]
    faults += [
        ("unknown message key", f"{where} has the unknown key {_short(key)}")
        for key in message
        if key not in KEYS
    ]
    role = message.get("role", "user")
    if not isinstance(role, str) or role not in ROLES:
        known = ", ".join(ROLES)
        faults.append(("unknown role", f"{where} has the role {_short(role)}; known are {known}"))
    content = message.get("content", "")
    if not isinstance(content, str):
        faults.append(("content not text", f"{where}: content is not text but {_named(content)}"))
    elif not _encodable(content):
        faults.append(("not Unicode", f"{where}: content has half a surrogate pair"))
    return faults


def _turn_faults(roles: list[str]) -> list[tuple[str, str]]:
    """What is wrong with the order: some assistant turn must answer something."""
    if "assistant" not in roles:
        return [("no assistant message", "no assistant message, so there is nothing to learn")]
    if roles[0] == "assistant":
        reason = "messages[0] is an assistant message that answers nothing"
        return [("assistant message first", reason)]
    return []


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _named(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value"}
    return "null" if value is None else names.get(cast("type[Any]", type(value)), "a number")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 40 else f"{text[:39]}…"
