"""Make a conversation fit the greatest length, in one of three ways.

drop_turns   whole trailing turns go, never half an answer; without one exchange that fits,
             the conversation goes
truncate     the first tokens stay, whole or not; with nothing left to learn, the
             conversation goes
error        it is refused
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phoundry.data.row import ChatMessage
from phoundry.data.tokenizer import ChatTokenizer, Example
from phoundry.errors import InvalidInput

if TYPE_CHECKING:
    from phoundry.specs.finetune import Truncation


class TooLong(InvalidInput):
    """A conversation over the greatest length, where that is an error."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What became of a conversation. `example` is None where nothing is left to learn.

    `tokens` is its length before; `shortened`: something that could be learnt from, or seen as the
    context of it, was cut off.
    """

    example: Example | None
    tokens: int
    shortened: bool = False

    @property
    def cut(self) -> int:
        """Tokens that the model does not see: those cut off, or all of them."""
        return self.tokens - (len(self.example) if self.example else 0)


def fit(
    tokenizer: ChatTokenizer,
    messages: Sequence[ChatMessage],
    max_tokens: int,
    tools: Sequence[Mapping[str, Any]] | None = None,
    truncation: Truncation = "drop_turns",
) -> Fitted:
    """The conversation as an example of at most `max_tokens`.

    Raises:
        TooLong: it has more, and `truncation` is `error`.
        InvalidInput: see `ChatTokenizer.render_example`.
    """
    whole = tokenizer.render_example(messages, tools)
    size = len(whole)
    if size <= max_tokens:
        return Fitted(whole, size)
    if truncation == "error":
        raise TooLong(
            f"{size:,} tokens, and at most {max_tokens:,} are taken",
            remedy="Raise max_seq_length if the model takes more, shorten the conversations, or "
            "set truncation=drop_turns (whole turns go) or truncation=truncate (the rest goes).",
        )
    if truncation == "truncate":
        cut = _cut(whole, max_tokens)
        return Fitted(cut, size, shortened=cut is not None)
    kept = _drop_turns(tokenizer, messages, tools, whole, max_tokens)
    # A last question that nobody answered is no loss.
    lost = kept is not None and len(kept.turn_ends) < answers(messages)
    return Fitted(kept, size, shortened=lost)


def fit_parts(
    tokenizer: ChatTokenizer,
    messages: Sequence[ChatMessage],
    max_tokens: int,
    tools: Sequence[Mapping[str, Any]] | None = None,
    truncation: Truncation = "drop_turns",
) -> list[Fitted]:
    """`fit` of each of the conversation's `ChatTokenizer.parts`: mostly it is one.

    Raises:
        TooLong, InvalidInput: as `fit`.
    """
    parts = tokenizer.parts(messages, tools)
    return [fit(tokenizer, part, max_tokens, tools, truncation) for part in parts]


def answers(messages: Sequence[ChatMessage]) -> int:
    """Assistant turns that answer something."""
    return sum(message["role"] == "assistant" for message in messages[1:])


def _cut(whole: Example, max_tokens: int) -> Example | None:
    """The first `max_tokens` of it with their mask, unless none of them is to be learnt."""
    mask = whole.loss_mask[:max_tokens]
    if not any(mask):
        return None
    ends = [end for end in whole.turn_ends if end <= max_tokens]
    return Example(whole.token_ids[:max_tokens], mask, ends)


def _drop_turns(
    tokenizer: ChatTokenizer,
    messages: Sequence[ChatMessage],
    tools: Sequence[Mapping[str, Any]] | None,
    whole: Example,
    max_tokens: int,
) -> Example | None:
    """The longest beginning that fits, ends with an answer and has one to learn."""
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
