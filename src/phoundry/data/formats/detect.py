"""Find the format of rows, and which of their columns are which parts.

One row is looked at alone (`guesses`), best-known format first; a file has the format that fits
most of its first rows. Names of columns are compared without regard to case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias, cast

from phoundry.data.formats import conversation, pairs, preference, sharegpt
from phoundry.data.formats.fixes import Convert
from phoundry.specs.data import DataFormat

Guess: TypeAlias = tuple[DataFormat, dict[str, str]]

_LISTS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns")
_CHOSEN = ("chosen", "preferred_output", "preferred", "chosen_response")
_REJECTED = ("rejected", "non_preferred_output", "non_preferred", "rejected_response")
_PROMPTS = ("prompt", "question", "instruction", "query", "input")
_QUESTIONS = ("question", "q", "query", "prompt", "instruction", "input", "user", "human", "inputs")
_ANSWERS = (
    "answer",
    "a",
    "response",
    "output",
    "completion",
    "reply",
    "assistant",
    "gpt",
    "targets",
)
_PAIRS = (
    ("question", "answer"),
    ("q", "a"),
    ("question", "response"),
    ("query", "response"),
    ("query", "answer"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("instruction", "response"),
    ("instruction", "answer"),
    ("input", "output"),
    ("question", "output"),
    ("prompt", "output"),
    ("inputs", "targets"),
    ("user", "assistant"),
    ("human", "assistant"),
    ("human", "gpt"),
)
_SYSTEMS = ("system", "system_prompt", "system_message")
_INPUTS = ("input", "context")

CONVERTERS: Mapping[DataFormat, Any] = {
    "messages": conversation.converter,
    "sharegpt": sharegpt.converter,
    "alpaca": pairs.converter,
    "prompt-completion": pairs.converter,
    "question-answer": pairs.converter,
    "preference": preference.converter,
}


def converter(format: DataFormat, mapping: Mapping[str, str]) -> Convert:
    """The function that makes a canonical row of a row in this format."""
    return CONVERTERS[format](mapping)


def guesses(row: Mapping[str, Any], given: Mapping[str, str]) -> list[Guess]:
    """Formats that the row may have with the mapping of each, best first.

    `given` is what the user has named: part to column.
    """
    return list(_guesses(_Columns(row, given), row))


def best(
    rows: Iterable[Mapping[str, Any]], given: Mapping[str, str], only: DataFormat | None
) -> tuple[Guess | None, set[DataFormat]]:
    """The guess that fits most rows (of `only`, where that is named), and what else fits those."""
    counts: dict[DataFormat, int] = {}
    firsts: dict[DataFormat, int] = {}
    mappings: dict[DataFormat, dict[str, str]] = {}
    for row in rows:
        found = [guess for guess in guesses(row, given) if only is None or guess[0] == only]
        for place, (format, mapping) in enumerate(found):
            counts[format] = counts.get(format, 0) + 1
            firsts[format] = firsts.get(format, 0) + (place == 0)
            mappings[format] = mapping | mappings.get(format, {})
    if not firsts:
        return None, set()
    chosen = max(firsts, key=lambda format: firsts[format])
    rivals: set[DataFormat] = {format for format in counts if counts[format] == counts[chosen]}
    rivals.discard(chosen)
    return (chosen, mappings[chosen]), rivals


class _Columns:
    """Columns by lower-case name, and what the user has named."""

    def __init__(self, row: Mapping[str, Any], given: Mapping[str, str]) -> None:
        self._by_name = {column.strip().lower(): column for column in reversed(list(row))}
        self._row = row
        self.given = given

    def find(self, part: str, names: Iterable[str]) -> str | None:
        """The column of a part: the user's, or the first usual name that is there."""
        if part in self.given:
            return self.given[part] if self.given[part] in self._row else None
        taken = set(self.given.values())
        found = (self._by_name.get(name) for name in names)
        return next((c for c in found if c is not None and c not in taken), None)

    def optional(self, *parts: tuple[str, tuple[str, ...]]) -> dict[str, str]:
        found = {part: self.find(part, names) for part, names in parts}
        return {part: column for part, column in found.items() if column is not None}


def _guesses(columns: _Columns, row: Mapping[str, Any]) -> Iterator[Guess]:
    given = columns.given
    common = columns.optional(("system", _SYSTEMS), ("tools", ("tools",)))
    chosen, rejected = columns.find("chosen", _CHOSEN), columns.find("rejected", _REJECTED)
    if chosen and rejected and not {"answer"} & set(given):
        yield "preference", {"chosen": chosen, "rejected": rejected} | _asked(columns) | common
        return
    if not {"question", "answer"} & set(given) and (listed := columns.find("messages", _LISTS)):
        if _is_sharegpt(row[listed], listed):
            yield "sharegpt", {"messages": listed} | common
        else:
            # A column `system` beside messages is only read where the user says so.
            yield (
                "messages",
                {"messages": listed}
                | {
                    part: column
                    for part, column in common.items()
                    if part == "tools" or part in given
                },
            )
    if "messages" in given:
        return
    yield from _pair(columns, common)


def _asked(columns: _Columns) -> dict[str, str]:
    """The prompt of a preference pair, if it has one of its own."""
    if "messages" not in columns.given and (question := columns.find("question", _PROMPTS)):
        mapping = {"question": question}
        if question.lower() == "instruction" or "input" in columns.given:
            mapping |= columns.optional(("input", _INPUTS))
        return mapping
    return columns.optional(("messages", _LISTS))


def _pair(columns: _Columns, common: dict[str, str]) -> Iterator[Guess]:
    known = (
        ("alpaca", ("instruction",), ("output",)),
        ("prompt-completion", ("prompt",), ("completion",)),
    )
    for format, asked, answered in known:
        question, answer = columns.find("question", asked), columns.find("answer", answered)
        if question and answer and not {"question", "answer"} & set(columns.given):
            mapping = {"question": question, "answer": answer} | common
            if format == "alpaca" or "input" in columns.given:
                mapping |= columns.optional(("input", ("input",)))
            yield cast("DataFormat", format), mapping
            return
    if {"question", "answer"} & set(columns.given):
        found = [(columns.find("question", _QUESTIONS), columns.find("answer", _ANSWERS))]
    else:
        found = [(columns.find("question", (q,)), columns.find("answer", (a,))) for q, a in _PAIRS]
    for question, answer in found:
        if question and answer and question != answer:
            mapping = {"question": question, "answer": answer} | common
            if question.lower() == "instruction" or "input" in columns.given:
                mapping |= columns.optional(("input", _INPUTS))
            yield "question-answer", mapping
            return


def _is_sharegpt(value: Any, column: str) -> bool:
    """By the first turn; where there is none, by what the column is called."""
    if isinstance(value, str):
        if '"from"' in value[:2000] or '"role"' in value[:2000]:
            return '"from"' in value[:2000]
    elif isinstance(value, list) and value:
        first = cast("list[Any]", value)[0]
        return isinstance(first, dict) and "from" in first
    return column.lower().startswith("conversation")
