"""From a messages file to token ids and masks, with the count of what did not fit."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass
from pathlib import Path

from phoundry.data import ChatTokenizer, check_messages, render_rows
from phoundry.errors import InvalidInput


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


def read_samples(path: Path, tokenizer: ChatTokenizer, *, longest: int) -> Samples:
    """Render every conversation of `path`; those over `longest` tokens lose trailing turns.

    One whose first exchange is too long is left out. Both are counted, neither is silent.

    Raises:
        InvalidInput: a row is bad, has no token to learn from, or none fits.
    """
    rows = check_messages(path).rows
    rendered = render_rows(tokenizer, rows, longest)
    kept = [Sample(example.token_ids, example.loss_mask) for example in rendered.examples]
    if not kept:
        raise InvalidInput(
            f"{path.name}: none of {len(rows)} conversations fits {longest} tokens.",
            remedy="Shorten them, or raise max_seq_length if the model takes more.",
        )
    return Samples(kept, rendered.truncated, rendered.dropped)
