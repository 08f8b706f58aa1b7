"""How models write calls of tools into their answers, and how the calls are read out again.

    Hermes, Qwen   <tool_call>\\n{"name": …, "arguments": {…}}\\n</tool_call>, one after the other
    Mistral        [TOOL_CALLS] [{"name": …, "arguments": {…}}, …]
    Llama 3        {"name": …, "parameters": {…}}, the whole answer

Which one a model writes is found out by having its template write a call.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from phoundry.data import ChatMessage, ChatTokenizer, ToolCall
from phoundry.errors import InvalidInput
from phoundry.serving.errors import bad_parameter
from phoundry.serving.replica.stops import overlap
from phoundry.serving.replica.tools import Tool, ToolUse


@dataclass(frozen=True, slots=True)
class CallFormat:
    """`opening` begins calls and `closing` ends one; `arguments` is the key of a call's arguments;
    `listed`: one list of calls. `begun` is what a forced answer begins with."""

    opening: str
    closing: str
    arguments: str
    listed: bool = False
    begun: str = ""

    def schema(self, tools: Sequence[Tool], one: bool) -> dict[str, Any]:
        """What the model must say after `begun`: a call of one of `tools`."""
        calls = [self._call_schema(tool["function"]) for tool in tools]
        call = calls[0] if len(calls) == 1 else {"anyOf": calls}
        if not self.listed:
            return call
        listed = {"type": "array", "items": call, "minItems": 1}
        return {**listed, "maxItems": 1} if one else listed

    def read(self, text: str, names: frozenset[str]) -> list[ToolCall] | None:
        """The calls in `text`, which begins with `opening`; None where it is no such thing."""
        parts = text.split(self.opening) if self.opening else ["", text]
        if parts[0].strip():
            return None
        calls: list[ToolCall] = []
        for part in parts[1:]:
            inner, _, after = part.partition(self.closing) if self.closing else (part, "", "")
            found = self._calls(inner, names)
            if found is None or after.strip():
                return None
            calls += found
        return calls or None

    def _calls(self, text: str, names: frozenset[str]) -> list[ToolCall] | None:
        try:
            value: Any = json.loads(text)
        except (ValueError, RecursionError):
            return None
        items = cast(list[Any], value if isinstance(value, list) and self.listed else [value])
        calls = [self._call(item, names) for item in items]
        known = [call for call in calls if call is not None]
        return known if len(known) == len(calls) else None

    def _call(self, item: Any, names: frozenset[str]) -> ToolCall | None:
        if not isinstance(item, dict):
            return None
        held = cast(dict[str, Any], item)
        name, arguments = held.get("name"), held.get(self.arguments, {})
        if not isinstance(name, str) or name not in names or not isinstance(arguments, dict):
            return None
        text = json.dumps(arguments, ensure_ascii=False)
        return {
            "id": f"call_{secrets.token_hex(12)}",
            "type": "function",
            "function": {"name": name, "arguments": text},
        }

    def _call_schema(self, function: dict[str, Any]) -> dict[str, Any]:
        arguments = function.get("parameters") or {"type": "object"}
        return {
            "type": "object",
            "properties": {"name": {"const": function["name"]}, self.arguments: arguments},
            "required": ["name", self.arguments],
            "additionalProperties": False,
        }


_HERMES = CallFormat("<tool_call>", "</tool_call>", "arguments", begun="<tool_call>\n")
_MISTRAL = CallFormat("[TOOL_CALLS]", "", "arguments", listed=True, begun="[TOOL_CALLS]")
_LLAMA = CallFormat("", "", "parameters")

_USER = ChatMessage(role="user", content="a")
_CALLING = ChatMessage(
    role="assistant",
    content="",
    tool_calls=[
        # Nine letters: Mistral's templates take no other ids.
        {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": '{"g": 1}'}}
    ],
)


def call_format(tokenizer: ChatTokenizer, tools: Sequence[Tool]) -> CallFormat:
    """The format of the model whose template this is.

    Raises:
        InvalidInput: the template leaves tools out, or writes calls in a way that is not known.
    """
    if tokenizer.unseen([_USER], tools):
        raise bad_parameter(
            "tools", f"cannot be used: the chat template of {tokenizer.name} has no place for them."
        )
    try:
        text = tokenizer.render_text([_USER, _CALLING], False)
    except InvalidInput:
        text = ""
    for known in (_HERMES, _MISTRAL):
        if known.opening in text:
            return known
    if '{"name": "f", "parameters": {"g": 1}}' in text:
        return _LLAMA
    raise bad_parameter(
        "tools",
        f"cannot be used: the chat template of {tokenizer.name} writes calls in a form that is not "
        "known here (known: Hermes and Qwen, Mistral, Llama 3).",
    )


class CallReader:
    """Tells the calls of an answer from its text while it comes."""

    def __init__(self, form: CallFormat, use: ToolUse) -> None:
        self._form = form
        self._names = frozenset(str(tool["function"]["name"]) for tool in use.callable)
        self._one = use.one
        # A forced answer begins after the opening.
        self._held = form.begun if use.forced else ""
        self._calling = use.forced
        self._text_only = False

    def feed(self, text: str) -> str:
        """What of the answer so far is certain to be text."""
        if self._text_only:
            return text
        self._held += text
        if self._calling:
            return ""
        if not self._form.opening:
            return self._feed_whole()
        at = self._held.find(self._form.opening)
        if at < 0:
            at = len(self._held) - overlap(self._held, self._form.opening)
        else:
            self._calling = True
        certain, self._held = self._held[:at], self._held[at:]
        return certain

    def finish(self) -> tuple[str, list[ToolCall]]:
        """The rest of the text, and the calls; an unreadable call is text."""
        held, self._held = self._held, ""
        calls = self._form.read(held, self._names) if self._calling else None
        if calls is None:
            return held, []
        return "", calls[:1] if self._one else calls

    def _feed_whole(self) -> str:
        """Llama 3: an answer that begins as JSON may be a call to its end."""
        begun = self._held.lstrip()
        if not begun:
            return ""
        self._calling = begun.startswith("{")
        self._text_only = not self._calling
        if self._calling:
            return ""
        held, self._held = self._held, ""
        return held
