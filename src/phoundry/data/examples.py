"""Make conversations fit: whole trailing turns are dropped, never half an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from phoundry.data.row import ChatMessage, Row
from phoundry.data.tokenizer import ChatTokenizer, Example
from phoundry.errors import Fault, InvalidInput


@dataclass(slots=True)
class Examples:
    """What became of the rows: `len(examples) + dropped` is their number."""

    examples: list[Example] = field(default_factory=list[Example])
    truncated: int = 0
    dropped: int = 0

    @property
    def tokens(self) -> int:
        return sum(len(example) for example in self.examples)

    @property
    def supervised_tokens(self) -> int:
        return sum(sum(example.loss_mask) for example in self.examples)


def truncate(
    tokenizer: ChatTokenizer, messages: Sequence[ChatMessage], max_tokens: int
) -> Example | None:
    """The conversation's longest beginning of at most `max_tokens` that ends with an answer.

    It is whole where it fits. None where not even the first exchange does.

    Raises:
        InvalidInput: see `ChatTokenizer.render_example`.
    """
    whole = tokenizer.render_example(messages)
    if len(whole) <= max_tokens:
        return whole
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant" and i > 0]
    fitting = [i for i, end in zip(turns, whole.turn_ends, strict=True) if end <= max_tokens]
    for last in reversed(fitting):
        # Rendered anew: a template may write something of its own after the last turn.
        example = tokenizer.render_example(messages[: last + 1])
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
            example = truncate(tokenizer, row["messages"], max_tokens)
        except InvalidInput as error:
            faults.append(Fault(f"{name}:{number}", error.message))
            remedy = error.remedy
            continue
        if example is None:
            result.dropped += 1
            continue
        result.examples.append(example)
        result.truncated += len(example.turn_ends) < _answers(row["messages"])
    if faults:
        raise InvalidInput(
            f"{len(faults)} of {len(rows)} conversations cannot be rendered for {tokenizer.name}.",
            faults=faults,
            remedy=remedy,
        )
    return result


def _answers(messages: Sequence[ChatMessage]) -> int:
    return sum(message["role"] == "assistant" for message in messages[1:])
