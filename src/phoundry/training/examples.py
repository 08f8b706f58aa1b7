"""A messages file as token ids and masks, with the count of what did not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import overload

from phoundry.data.tokens import TokenSet, prepare
from phoundry.errors import InvalidInput
from phoundry.specs.finetune import Truncation

_LOSES = {"drop_turns": "lose whole trailing turns", "truncate": "lose their end"}


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

    `truncated` of them were shortened; `dropped` others are not here, because nothing to learn was
    left of them; `cut` tokens went with both. `supervised`: tokens that are learnt. `notices` say
    what was lost, and what of the rows the model's template has no place for.
    """

    def __init__(
        self, tokens: TokenSet, longest: int, truncation: Truncation = "drop_turns"
    ) -> None:
        self.lengths: list[int] = tokens.lengths.tolist()
        self.tokens = tokens.tokens
        self.truncated = tokens.truncated
        self.dropped = tokens.dropped
        self.cut = tokens.cut
        self.supervised = int(tokens.supervised.sum())
        self._tokens = tokens
        self.notices = [*self._losses(longest, truncation), *tokens.notices]

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

    def _losses(self, longest: int, truncation: Truncation) -> list[str]:
        """What does not fit, said before the start."""
        if not self.truncated and not self.dropped:
            return []
        return [
            f"{self.truncated + self.dropped:,} of {self._tokens.rows:,} conversations have more "
            f"than {longest:,} tokens: {self.truncated:,} {_LOSES.get(truncation, '')}, "
            f"{self.dropped:,} are left out (truncation={truncation}); {self.cut:,} of "
            f"{self.cut + self.tokens:,} tokens are not seen."
        ]


def read_samples(
    path: Path,
    checkpoint_dir: Path,
    *,
    longest: int,
    truncation: Truncation = "drop_turns",
    workers: int | None = None,
    cache_dir: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Samples:
    """Render every conversation of `path`; `truncation` says what is done with those over
    `longest` tokens.

    What is shortened or left out is counted, never silent. What was rendered before is taken from
    `cache_dir`; without one nothing is kept. `workers` processes render (None or 0: one a core);
    `say` hears how far they are.

    Raises:
        InvalidInput: a row is bad, has no token to learn from, is too long where that is an error,
            or none fits.
    """

    def made(cache: Path) -> TokenSet:
        return prepare(
            path,
            checkpoint_dir,
            cache,
            max_tokens=longest,
            truncation=truncation,
            workers=workers or None,
            say=say,
        )

    if cache_dir is None:
        # What is mapped into memory stays there when its file is gone.
        with TemporaryDirectory(prefix="phoundry-tokens-") as folder:
            tokens = made(Path(folder))
    else:
        tokens = made(cache_dir)
    if not len(tokens):
        raise InvalidInput(
            f"{path.name}: none of {tokens.rows} conversations fits {longest} tokens.",
            remedy="Shorten them, or raise max_seq_length if the model takes more.",
        )
    return Samples(tokens, longest, truncation)
