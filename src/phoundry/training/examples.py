"""A messages file as token ids and masks, with the count of what did not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import overload

from phoundry.data.tokens import TokenSet, prepare
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


class Samples(Sequence[Sample]):
    """A file's conversations, read from disk as they are needed; only their lengths are kept.

    `truncated` of them lost trailing turns; `dropped` others are not here, because not even their
    first exchange fits.
    """

    def __init__(self, tokens: TokenSet) -> None:
        self.lengths: list[int] = tokens.lengths.tolist()
        self.tokens = tokens.tokens
        self.truncated = tokens.truncated
        self.dropped = tokens.dropped
        self.notices = tokens.notices
        self._tokens = tokens

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        example = self._tokens[index]
        return Sample(example.token_ids, example.loss_mask)

    def fingerprint(self) -> str:
        """SHA-256 of every token id and mask, in order."""
        return self._tokens.fingerprint()


def read_samples(
    path: Path,
    checkpoint_dir: Path,
    *,
    longest: int,
    cache_dir: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Samples:
    """Render every conversation of `path`; those over `longest` tokens lose trailing turns.

    One whose first exchange is too long is left out. Both are counted, neither is silent. What was
    rendered before is taken from `cache_dir`; without one nothing is kept. `say` hears how far it
    is.

    Raises:
        InvalidInput: a row is bad, has no token to learn from, or none fits.
    """
    if cache_dir is None:
        # What is mapped into memory stays there when its file is gone.
        with TemporaryDirectory(prefix="phoundry-tokens-") as folder:
            tokens = prepare(path, checkpoint_dir, Path(folder), max_tokens=longest, say=say)
    else:
        tokens = prepare(path, checkpoint_dir, cache_dir, max_tokens=longest, say=say)
    if not len(tokens):
        raise InvalidInput(
            f"{path.name}: none of {tokens.rows} conversations fits {longest} tokens.",
            remedy="Shorten them, or raise max_seq_length if the model takes more.",
        )
    return Samples(tokens)
