"""From a messages file to token ids and masks, with the count of what did not fit."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phoundry.errors import InvalidInput

Messages = list[dict[str, Any]]
# (token ids, loss mask) of a conversation.
Render = Callable[[Messages], tuple[list[int], list[bool]]]


@dataclass(frozen=True, slots=True)
class Sample:
    """A conversation as the model sees it. `supervised[i]`: token i is to be learnt."""

    token_ids: list[int]
    supervised: list[bool]

    @property
    def targets(self) -> int:
        """Supervised tokens that have a token before them to be predicted from."""
        return sum(self.supervised[1:])


@dataclass(frozen=True, slots=True)
class Samples:
    """A file's conversations, and how many of them had to change to fit."""

    kept: list[Sample]
    truncated: int  # lost trailing turns
    dropped: int  # even their first exchange does not fit

    @property
    def lengths(self) -> list[int]:
        return [len(sample.token_ids) for sample in self.kept]

    @property
    def tokens(self) -> int:
        return sum(self.lengths)

    def fingerprint(self) -> str:
        """SHA-256 of every token id and mask, in order."""
        digest = hashlib.sha256()
        for sample in self.kept:
            digest.update(array("q", sample.token_ids).tobytes())
            digest.update(b"|" + bytes(sample.supervised) + b"\n")
        return digest.hexdigest()


def read_samples(path: Path, render: Render, *, longest: int) -> Samples:
    """Render every conversation of `path`; those over `longest` tokens lose trailing turns.

    A conversation is shortened to its longest beginning that fits and ends with an answer; one
    whose first exchange is too long is left out. Both are counted, neither is silent.

    Raises:
        InvalidInput: no conversation is left, or one has nothing to learn from.
    """
    kept: list[Sample] = []
    truncated = dropped = number = 0
    for number, messages in enumerate(_conversations(path), start=1):
        sample, cut = _fit(messages, render, longest)
        if sample is None:
            dropped += 1
            continue
        if not sample.targets:
            raise InvalidInput(
                f"{path.name}: conversation {number} has no token to learn from.",
                remedy="Give it an assistant turn with content, or remove it.",
            )
        truncated += cut
        kept.append(sample)
    if not kept:
        raise InvalidInput(
            f"{path.name}: none of {number} conversations fits {longest} tokens.",
            remedy="Shorten them, or raise max_seq_length if the model takes more.",
        )
    return Samples(kept, truncated, dropped)


def _conversations(path: Path) -> Iterable[Messages]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)["messages"]


def _fit(messages: Messages, render: Render, longest: int) -> tuple[Sample | None, bool]:
    """The sample, and whether turns were taken off."""
    ends = [i + 1 for i, message in enumerate(messages) if message["role"] == "assistant"]
    whole = Sample(*render(messages))
    if len(whole.token_ids) <= longest:
        return whole, False
    for end in reversed(ends):
        if end == len(messages):
            continue
        part = Sample(*render(messages[:end]))
        if len(part.token_ids) <= longest:
            return part, True
    return None, False
