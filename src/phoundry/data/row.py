"""What a row is: a conversation, or a prompt with a chosen and a rejected answer.

Every source becomes these, whatever its format, and everything after reading knows these alone.
Their canonical bytes (`to_line`) are what is kept and hashed: keys in a fixed order, and only those
that are there, so that a plain conversation's bytes never change because a format has learnt more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict, cast


class ToolFunction(TypedDict):
    """`arguments` is JSON text, as OpenAI writes it."""

    name: str
    arguments: str


class ToolCall(TypedDict):
    id: str
    type: Literal["function"]
    function: ToolFunction


class ChatMessage(TypedDict):
    """One message. `weight` 0, for an assistant's alone: shown to the model and not learnt."""

    role: str
    content: str
    name: NotRequired[str]
    tool_calls: NotRequired[list[ToolCall]]
    tool_call_id: NotRequired[str]
    weight: NotRequired[int]


class Row(TypedDict):
    """One conversation. `tools` are OpenAI's: `{"type": "function", "function": {…}}`."""

    messages: list[ChatMessage]
    tools: NotRequired[list[dict[str, Any]]]


class PreferenceRow(TypedDict):
    """A prompt and two ways to go on from it (TRL's names)."""

    prompt: list[ChatMessage]
    chosen: list[ChatMessage]
    rejected: list[ChatMessage]
    tools: NotRequired[list[dict[str, Any]]]


AnyRow: TypeAlias = Row | PreferenceRow


class BadRow(Exception):
    """Why a row can't be used. Never leaves this room: a reader makes a `RefusedRow` of it."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that can't be used. `kind` groups the like ones; `reason` has the details."""

    file: str
    line: int
    kind: str
    reason: str

    @property
    def where(self) -> str:
        """`faq.jsonl:7`"""
        return f"{self.file}:{self.line}"


_CONVERSATIONS = ("messages", "prompt", "chosen", "rejected")
_MESSAGE_KEYS = ("role", "content", "name", "tool_calls", "tool_call_id", "weight")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def to_line(row: AnyRow) -> bytes:
    """The row's canonical bytes with a line end: UTF-8, fixed order of keys, no spaces between."""
    held = cast("Mapping[str, Any]", row)
    ordered: dict[str, Any] = {
        key: [_ordered(message) for message in held[key]] for key in _CONVERSATIONS if key in held
    }
    if "tools" in held:
        ordered["tools"] = held["tools"]
    return f"{_encode(ordered)}\n".encode()


def to_jsonl(rows: Iterable[AnyRow]) -> bytes:
    """`to_line` of each row."""
    return b"".join(map(to_line, rows))


def row_digest(row: AnyRow) -> bytes:
    """16 bytes of what the row says: equal for rows of equal canonical bytes."""
    return line_digest(to_line(row))


def line_digest(line: bytes) -> bytes:
    """`row_digest` of a canonical line that is at hand."""
    return hashlib.blake2b(line, digest_size=16).digest()


def _ordered(message: Mapping[str, Any]) -> dict[str, Any]:
    if len(message) == 2:
        return {"role": message["role"], "content": message["content"]}
    return {key: message[key] for key in _MESSAGE_KEYS if key in message}
