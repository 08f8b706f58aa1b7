"""Preference pairs: a prompt, an answer that was chosen, one that was rejected.

TRL's `prompt`, `chosen`, `rejected` as texts or lists of messages, with the prompt also implicit in
the two lists; OpenAI's `input`, `preferred_output`, `non_preferred_output`; ShareGPT's
`conversations` with `chosen` and `rejected` turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from phoundry.data.formats.fields import add_tools, as_messages, missing, text_of, with_system
from phoundry.data.formats.fixes import Convert, Fixes
from phoundry.data.formats.sharegpt import read_turns
from phoundry.data.messages import read_messages_list
from phoundry.data.row import BadRow, ChatMessage, PreferenceRow


def converter(mapping: Mapping[str, str]) -> Convert:
    asked = mapping.get("question") or mapping.get("messages")
    is_alpaca = asked is not None and asked.lower() == "instruction"
    extra = mapping.get("input") or ("input" if is_alpaca else None)
    system, tools = mapping.get("system", "system"), mapping.get("tools", "tools")

    def convert(row: dict[str, Any], fixes: Fixes) -> PreferenceRow:
        prompt, offered = _prompt(row, asked, extra, fixes)
        chosen = _answer(row, mapping["chosen"], "chosen", fixes)
        rejected = _answer(row, mapping["rejected"], "rejected", fixes)
        if chosen[0]["role"] != "assistant" or rejected[0]["role"] != "assistant":
            prompt, chosen, rejected = _divided(prompt, chosen, rejected)
        if not prompt:
            raise BadRow("no prompt", "no prompt, neither of its own nor in both answers")
        if chosen == rejected:
            raise BadRow("no preference", "the chosen and the rejected answer are the same")
        for name, answer in (("chosen", chosen), ("rejected", rejected)):
            if answer[-1]["role"] != "assistant":
                raise BadRow("no answer", f"'{name}' does not end with an assistant message")
        result: PreferenceRow = {
            "prompt": with_system(prompt, row, system, fixes) if system in row else prompt,
            "chosen": chosen,
            "rejected": rejected,
        }
        add_tools(result, offered if offered.get("tools") else row, tools)
        return result

    return convert


def _prompt(
    row: dict[str, Any], column: str | None, extra: str | None, fixes: Fixes
) -> tuple[list[ChatMessage], dict[str, Any]]:
    """The prompt's messages, and the object (OpenAI's `input`) that may hold tools beside them."""
    value = as_messages(row.get(column)) if column is not None else None
    if value is None or column is None or value in ("", []):
        return [], {}
    if isinstance(value, dict):
        held = cast("dict[str, Any]", value)
        if "messages" not in held:
            raise missing(held, "messages", "prompt")
        return read_messages_list(held["messages"], f"{column}.messages"), held
    if isinstance(value, list):
        return _messages(cast("list[Any]", value), column), {}
    text = text_of(value, column, fixes)
    more = row.get(extra) if extra is not None else None
    if extra is not None and more is not None and (added := text_of(more, extra, fixes)).strip():
        text = f"{text}\n{added}"
    if not text.strip():
        raise BadRow("empty prompt", f"'{column}' has no text")
    return [{"role": "user", "content": text}], {}


def _answer(row: dict[str, Any], column: str, what: str, fixes: Fixes) -> list[ChatMessage]:
    value = row.get(column)
    if value is None:
        raise missing(row, column, what)
    value = as_messages(value)
    if isinstance(value, dict):
        value = cast("Any", [value])
    if isinstance(value, list):
        return _messages(cast("list[Any]", value), column)
    text = text_of(value, column, fixes)
    if not text.strip():
        raise BadRow("empty answer", f"'{column}' has no text")
    return [{"role": "assistant", "content": text}]


def _messages(value: list[Any], column: str) -> list[ChatMessage]:
    """Messages, or ShareGPT's turns."""
    first: Any = value[0] if value else None
    if isinstance(first, dict) and "from" in first:
        messages = read_turns(value, column)[0]
        if not messages:
            raise BadRow("empty conversation", f"'{column}' has no text")
        return messages
    return read_messages_list(value, column)


def _divided(
    prompt: list[ChatMessage], chosen: list[ChatMessage], rejected: list[ChatMessage]
) -> tuple[list[ChatMessage], list[ChatMessage], list[ChatMessage]]:
    """Whole conversations taken apart: what both begin with is the prompt.

    A prompt beside them must say the same: its last message is then one of theirs.
    """
    most = min(len(chosen), len(rejected)) - 1
    same = 0
    while same < most and chosen[same] == rejected[same]:
        same += 1
    common = chosen[:same]
    if not common:
        raise BadRow("no prompt", "the two answers are conversations that begin differently")
    if prompt and prompt[-1]["content"].strip() not in {m["content"].strip() for m in common}:
        raise BadRow("two prompts", "the prompt is not what the two conversations begin with")
    return common, chosen[same:], rejected[same:]
