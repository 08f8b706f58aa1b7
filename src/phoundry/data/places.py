"""What a chat template has a place for, found out by asking it.

Templates leave out in silence what they don't know: many write no tools, no calls of tools, no
results of them, some no system message. A model can't learn from what it is not shown, so each is
tried once with a word that can come from nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from phoundry.data.row import ChatMessage
from phoundry.data.template import ChatTemplate
from phoundry.errors import InvalidInput

TOOLS, CALLS, RESULTS, SYSTEM = "tools", "tool calls", "tool results", "system messages"
# Without these the rest of a conversation says something else.
NEEDED = frozenset({CALLS, RESULTS})

_WORD, _OTHER = "zvyxqw", "qxwzvk"
_USER = {"role": "user", "content": "a"}
_ANSWER = {"role": "assistant", "content": "b"}
_ARGUMENT = {"type": "object", "properties": {_OTHER: {"type": "string", "description": "c"}}}
_TOOL = {
    "type": "function",
    "function": {"name": _WORD, "description": "d", "parameters": _ARGUMENT},
}
# Nine letters: Mistral's templates take no other ids.
_ID = "abcdefghi"
_CALL = {"id": _ID, "type": "function", "function": {"name": _WORD, "arguments": {_OTHER: "e"}}}
_CALL_F = {"id": _ID, "type": "function", "function": {"name": "f", "arguments": {"g": "h"}}}
_CALLING = {"role": "assistant", "content": "", "tool_calls": [_CALL]}
_CALLING_F = {"role": "assistant", "content": "", "tool_calls": [_CALL_F]}
_RESULT = {"role": "tool", "name": "f", "tool_call_id": _ID, "content": _WORD}
_SYSTEM = {"role": "system", "content": _WORD}


class TemplatePlaces:
    """What one template leaves out. Each question is asked when it first matters."""

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template

    def lost(
        self, messages: Sequence[ChatMessage], tools: Sequence[Mapping[str, Any]] | None
    ) -> list[str]:
        """Parts of the conversation that the template leaves out: of the four names above."""
        roles = {message["role"] for message in messages}
        found: list[str] = []
        if tools and not self._has_tools:
            found.append(TOOLS)
        if any(message.get("tool_calls") for message in messages) and not self._has_calls:
            found.append(CALLS)
        if "tool" in roles and not self._has_results:
            found.append(RESULTS)
        if "system" in roles and not self._has_system:
            found.append(SYSTEM)
        return found

    @cached_property
    def _has_tools(self) -> bool:
        return self._writes([_USER, _ANSWER], _WORD, tools=[_TOOL])

    @cached_property
    def _has_calls(self) -> bool:
        # The tool itself is not offered: its name would be found in the offer.
        messages = [_USER, _CALLING]
        return all(self._writes(messages, word) for word in (_WORD, _OTHER))

    @cached_property
    def _has_results(self) -> bool:
        return self._writes([_USER, _CALLING_F, _RESULT, _ANSWER], _WORD)

    @cached_property
    def _has_system(self) -> bool:
        return self._writes([_SYSTEM, _USER, _ANSWER], _WORD)

    def _writes(
        self,
        messages: Sequence[Mapping[str, Any]],
        word: str,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> bool:
        """Whether `word` is in the text. A template that refuses says so better when it is used."""
        try:
            return word in self._template.render(messages, False, tools)
        except InvalidInput:
            return True
