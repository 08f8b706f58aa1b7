"""Kinds of conversations that a template may treat differently, and one to try each with.

A template is steady for a kind when what it wrote of a conversation stays as it is while the
conversation goes on. Some are not: Qwen3's takes the thoughts out of earlier answers, Mistral's
moves the tools and the system message to the last question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# How the thoughts of an answer are begun and ended, by model families.
THOUGHTS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<thinking>", "</thinking>"))

# Nine letters: Mistral's templates take no other ids.
_ID = "abcdefghi"
_CALL = {"id": _ID, "type": "function", "function": {"name": "f", "arguments": {"g": "h"}}}
_TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
}


class Kind(NamedTuple):
    """What of a conversation a template may look at. `thought`: a place in `THOUGHTS`, or -1."""

    system: bool
    tools: bool
    calls: bool
    thought: int

    def probe(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None]:
        """Two exchanges of this kind, as templates take messages, and the tools offered."""
        messages: list[dict[str, Any]] = []
        if self.system:
            messages.append({"role": "system", "content": "s"})
        for turn in ("1", "2"):
            messages.append({"role": "user", "content": f"q{turn}"})
            if self.calls:
                messages.append({"role": "assistant", "content": "", "tool_calls": [_CALL]})
                result = {"role": "tool", "name": "f", "tool_call_id": _ID, "content": turn}
                messages.append(result)
            messages.append({"role": "assistant", "content": self._thinking() + f"a{turn}"})
        return messages, [_TOOL] if self.tools else None

    def _thinking(self) -> str:
        if self.thought < 0:
            return ""
        begin, end = THOUGHTS[self.thought]
        return f"{begin}\nt\n{end}\n\n"


def kind_of(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None
) -> Kind:
    """The kind of a conversation, given as templates take it."""
    roles = {message["role"] for message in messages}
    answers = [message["content"] for message in messages if message["role"] == "assistant"]
    thought = next(
        (i for i, (_, end) in enumerate(THOUGHTS) if any(end in answer for answer in answers)), -1
    )
    calls = "tool" in roles or any(message.get("tool_calls") for message in messages)
    return Kind("system" in roles, bool(tools), calls, thought)
