"""Rows as examples that fit_parts, and the count of what did not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phoundry.data.fitting import fit_parts
from phoundry.data.row import Row
from phoundry.data.tokenizer import ChatTokenizer, Example
from phoundry.errors import Fault, InvalidInput

if TYPE_CHECKING:
    from phoundry.specs.finetune import Truncation


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
    """What became of the rows: `len(examples) + dropped` is their number.

    `cut` is the number of tokens that were cut off or left out.
    """

    examples: list[Example] = field(default_factory=list[Example])
    truncated: int = 0
    dropped: int = 0
    cut: int = 0
    unseen: Unseen = field(default_factory=Unseen)

    @property
    def tokens(self) -> int:
        return sum(len(example) for example in self.examples)

    @property
    def supervised_tokens(self) -> int:
        return sum(sum(example.loss_mask) for example in self.examples)


def render_rows(
    tokenizer: ChatTokenizer,
    rows: Sequence[Row],
    max_tokens: int,
    name: str = "row",
    truncation: Truncation = "drop_turns",
) -> Examples:
    """Every row as an example of at most `max_tokens`, with the number of those that were cut.

    Raises:
        InvalidInput: rows that `ChatTokenizer.render_example` refuses, or that are too long where
            `truncation` is `error`; all of them, each as `name:number`, counted from 1.
    """
    result = Examples()
    faults: list[Fault] = []
    remedies: dict[str, None] = {}
    for number, row in enumerate(rows, start=1):
        try:
            parts = fit_parts(tokenizer, row["messages"], max_tokens, row.get("tools"), truncation)
        except InvalidInput as error:
            faults.append(Fault(f"{name}:{number}", error.message))
            remedies |= {error.remedy: None} if error.remedy else {}
            continue
        result.cut += sum(fitted.cut for fitted in parts)
        kept = [fitted.example for fitted in parts if fitted.example is not None]
        if not kept:
            result.dropped += 1
            continue
        result.examples += kept
        result.truncated += len(kept) < len(parts) or any(fitted.shortened for fitted in parts)
        for part in tokenizer.unseen(row["messages"], row.get("tools")):
            result.unseen.add(part, 1, number)
    if faults:
        raise InvalidInput(
            f"{len(faults)} of {len(rows)} conversations cannot be used for {tokenizer.name}.",
            faults=faults,
            remedy=" ".join(remedies) or None,
        )
    return result
