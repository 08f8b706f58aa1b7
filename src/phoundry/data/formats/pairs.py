"""A question and its answer in columns: Alpaca, prompt and completion, and all their like.

    {"instruction": "Translate", "input": "hej", "output": "hello"}       alpaca
    {"prompt": "Who?", "completion": "I"}, texts or lists of messages       prompt-completion
    {"q": "Who?", "a": "I"}                                                 question-answer

An instruction and its input become one question, parted by a line end, as LLaMA-Factory does it. In
a prompt of messages, answers are shown and not learnt, as in TRL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from phoundry.data.formats.fields import (
    add_tools,
    as_messages,
    list_of,
    missing,
    text_of,
    with_system,
)
from phoundry.data.formats.fixes import Convert, Fixes
from phoundry.data.json_text import named
from phoundry.data.messages import check_turns, read_messages_list
from phoundry.data.row import BadRow, ChatMessage, Row


def converter(mapping: Mapping[str, str]) -> Convert:
    question, answer = mapping["question"], mapping["answer"]
    # Not every row of Alpaca's has these, and the first ones may not.
    is_alpaca = question.lower() == "instruction"
    extra = mapping.get("input") or ("input" if is_alpaca and answer != "input" else None)
    system, tools = mapping.get("system", "system"), mapping.get("tools", "tools")

    def convert(row: dict[str, Any], fixes: Fixes) -> Row:
        asked = _asked(row, question, extra, fixes)
        messages = _history(row, fixes) + asked if is_alpaca and "history" in row else asked
        messages = messages + _answered(row, answer, fixes)
        if system in row:
            messages = with_system(messages, row, system, fixes)
        check_turns(messages, question)
        result: Row = {"messages": messages}
        if tools in row:
            add_tools(result, row, tools)
        return result

    return convert


def _asked(row: dict[str, Any], column: str, extra: str | None, fixes: Fixes) -> list[ChatMessage]:
    value = as_messages(row.get(column))
    if value is None:
        raise missing(row, column, "question")
    if isinstance(value, list):
        return _unlearnt(read_messages_list(cast("Any", value), column), fixes)
    text = text_of(value, column, fixes)
    more = row.get(extra) if extra is not None else None
    if extra is not None and more is not None and (added := text_of(more, extra, fixes)).strip():
        text = f"{text}\n{added}" if text.strip() else added
    if not text.strip():
        raise BadRow("empty question", f"'{column}' has no text")
    return [{"role": "user", "content": text}]


def _answered(row: dict[str, Any], column: str, fixes: Fixes) -> list[ChatMessage]:
    value = as_messages(row.get(column))
    if value is None:
        raise missing(row, column, "answer")
    if isinstance(value, list):
        return read_messages_list(cast("Any", value), column)
    text = text_of(value, column, fixes)
    if not text.strip():
        raise BadRow("empty answer", f"'{column}' has no text")
    return [{"role": "assistant", "content": text}]


def _history(row: dict[str, Any], fixes: Fixes) -> list[ChatMessage]:
    """Alpaca's earlier exchanges: pairs of question and answer."""
    value = list_of(row["history"])
    if not value:
        return []
    if not isinstance(value, list):
        raise BadRow("bad history", f"'history' is not a list but {named(value)}")
    messages: list[ChatMessage] = []
    for i, pair in enumerate(cast("list[Any]", value)):
        if not isinstance(pair, list | tuple) or len(cast("list[Any]", pair)) != 2:
            raise BadRow("bad history", f"history[{i}] is not a pair of question and answer")
        asked, answered = (
            text_of(text, f"history[{i}]", fixes) for text in cast("list[Any]", pair)
        )
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": answered})
    return messages


def _unlearnt(messages: list[ChatMessage], fixes: Fixes) -> list[ChatMessage]:
    answers = [message for message in messages if message["role"] == "assistant"]
    for message in answers:
        message["weight"] = 0
    fixes["prompt answers"] += bool(answers)
    return messages
