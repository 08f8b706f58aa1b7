"""Make conversations fit: whole trailing turns are dropped, never half an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from phoundry.data.row import ChatMessage, Row
from phoundry.data.tokenizer import ChatTokenizer, Example
from phoundry.errors import Fault, InvalidInput


class Unseen(dict[str, tuple[int, int]]):
    """Parts of rows that the model is not shown (`ChatTokenizer.unseen`): how many rows have such a
    part, and the number of the first of them."""

    def add(self, part: str, count: int, first: int) -> None:
        known, earlier = self.get(part, (0, first))
        self[part] = known + count, earlier

    def notices(self, model: str) -> list[str]:
        return [
            f"{count} row(s), the first of them row {first}, have {part}; the chat template of "
            f"{model} has no place for them, so the model does not see them."
            for part, (count, first) in self.items()
        ]


@dataclass(slots=True)
class Examples:
    """What became of the rows: `len(examples) + dropped` is their number."""

    examples: list[Example] = field(default_factory=list[Example])
    truncated: int = 0
    dropped: int = 0
    unseen: Unseen = field(default_factory=Unseen)

    @property
    def tokens(self) -> int:
        return sum(len(example) for example in self.examples)

    @property
    def supervised_tokens(self) -> int:
        return sum(sum(example.loss_mask) for example in self.examples)


def truncate(
    tokenizer: ChatTokenizer,
    messages: Sequence[ChatMessage],
    max_tokens: int,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> Example | None:
    """The conversation's longest beginning of at most `max_tokens` that ends with an answer.

    It is whole where it fits. None where not even the first exchange does, or no answer that is to
    be learnt is left.

    Raises:
        InvalidInput: see `ChatTokenizer.render_example`.
    """
    whole = tokenizer.render_example(messages, tools)
    if len(whole) <= max_tokens:
        return whole
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant" and i > 0]
    fitting = [i for i, end in zip(turns, whole.turn_ends, strict=True) if end <= max_tokens]
    learnt = [i for i in turns if messages[i].get("weight", 1)]
    for last in reversed(fitting):
        if last < learnt[0]:
            return None
        # Rendered anew: a template may write something of its own after the last turn.
        example = tokenizer.render_example(messages[: last + 1], tools)
        if len(example) <= max_tokens:
            return example
    return None


def render_rows(
    tokenizer: ChatTokenizer, rows: Sequence[Row], max_tokens: int, name: str = "row"
) -> Examples:
    """Every row as an example of at most `max_tokens`, with the number of those that were cut.

    Raises:
        InvalidInput: rows that `ChatTokenizer.render_example` refuses, all of them, each as
            `name:number`, counted from 1.
    """
    result = Examples()
    remedy: str | None = None
    faults: list[Fault] = []
    for number, row in enumerate(rows, start=1):
        try:
            example = truncate(tokenizer, row["messages"], max_tokens, row.get("tools"))
        except InvalidInput as error:
            faults.append(Fault(f"{name}:{number}", error.message))
            remedy = error.remedy
            continue
        if example is None:
            result.dropped += 1
            continue
        result.examples.append(example)
        result.truncated += len(example.turn_ends) < answers(row["messages"])
        for part in tokenizer.unseen(row["messages"], row.get("tools")):
            result.unseen.add(part, 1, number)
    if faults:
        raise InvalidInput(
            f"{len(faults)} of {len(rows)} conversations cannot be rendered for {tokenizer.name}.",
            faults=faults,
            remedy=remedy,
        )
    return result


def answers(messages: Sequence[ChatMessage]) -> int:
    """Assistant turns that answer something."""
    return sum(message["role"] == "assistant" for message in messages[1:])
