"""Examples on disk, mapped into memory.

    ids.raw         the ids of all examples, end to end; 2 or 4 bytes each
    mask.raw        a bit a token, each example's beginning with a byte of its own
    lengths.raw     tokens of each example, 4 bytes
    supervised.raw  tokens of each example that are learnt, 4 bytes
    meta.json       counts, and the size and SHA-256 of each of these files

Numbers are little-endian.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from phoundry.data.examples import Unseen
from phoundry.data.tokenise import MOST_FAULTS, Batch
from phoundry.data.tokenizer import Example
from phoundry.files import read_json, sha256_file, write_json

_FILES = ("ids.raw", "mask.raw", "lengths.raw", "supervised.raw")
_COUNTS = ("rows", "truncated", "dropped", "cut")


class Damaged(Exception):
    """Why a folder is not what was written. Never leaves this room: `prepare` says it."""


class TokenSet(Sequence[Example]):
    """The examples of a data file. Only what is looked at is read from disk.

    `lengths`, `supervised`: (examples,) int32. `rows` is how many were read: `truncated` of the
    examples were shortened, and `dropped` rows are not among them because nothing to learn was
    left; `cut` tokens went with both. `notices` tell what the model's template has no place for,
    and whether conversations are learnt in parts.
    """

    def __init__(self, folder: Path, meta: dict[str, Any]) -> None:
        self.lengths: NDArray[np.int32] = _mapped(folder / "lengths.raw", "<i4")
        self.supervised: NDArray[np.int32] = _mapped(folder / "supervised.raw", "<i4")
        self.rows: int = meta["rows"]
        self.truncated: int = meta["truncated"]
        self.dropped: int = meta["dropped"]
        self.cut: int = meta["cut"]
        self.tokens: int = meta["tokens"]
        self.notices: list[str] = meta["notices"]
        self._fingerprint: str = meta["fingerprint"]
        self._ids = _mapped(folder / "ids.raw", meta["dtype"])
        self._mask = _mapped(folder / "mask.raw", "u1")
        self._starts = _starts(self.lengths)
        self._mask_starts = _starts((self.lengths + 7) // 8)

    @classmethod
    def open(cls, folder: Path) -> TokenSet | None:
        """What is in `folder`, every byte checked, or None where there is nothing.

        Raises:
            Damaged: the folder is not as it was written.
        """
        try:
            meta = read_json(folder / "meta.json")
        except ValueError:
            raise Damaged("meta.json is not JSON") from None
        if meta is None:
            return None
        try:
            _check(folder, meta["files"])
            return cls(folder, meta)
        except (KeyError, TypeError):
            raise Damaged("meta.json lacks what it must have") from None

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        place = index % len(self)
        start, length = int(self._starts[place]), int(self.lengths[place])
        first = int(self._mask_starts[place])
        bits = np.unpackbits(self._mask[first : first + (length + 7) // 8], count=length)
        ids = self._ids[start : start + length]
        return Example(ids.tolist(), bits.astype(bool).tolist(), turn_ends=[])

    def fingerprint(self) -> str:
        """SHA-256 of every token id and mask, in order."""
        return self._fingerprint


class TokenWriter:
    """Writes batches, in order, into an empty folder. Holds no more than one of them."""

    def __init__(self, folder: Path, code: str) -> None:
        """`code` is the letter of `id_code`."""
        self.tokens = 0
        self.examples = 0
        self.counts: Counter[str] = Counter()
        self.faults: list[tuple[int, str]] = []  # (row of the file, reason)
        self.remedies: dict[str, None] = {}
        self.unseen = Unseen()
        self._folder = folder
        self._dtype = {"H": "<u2", "I": "<u4"}[code]
        self._files = [(folder / name).open("wb") for name in _FILES]
        self._digest = hashlib.sha256()

    def add(self, batch: Batch) -> None:
        arrays = (batch.ids, batch.mask, batch.lengths, batch.supervised)
        for file, content in zip(self._files, arrays, strict=True):
            file.write(content)
        self._digest_batch(batch)
        self.examples += len(batch.lengths) // 4  # int32 each
        before = self.counts["rows"]
        for name in (*_COUNTS, "unreadable", "refused", "too_long"):
            self.counts[name] += getattr(batch, name)
        for part, (count, first) in batch.unseen.items():
            self.unseen.add(part, count, before + first)
        if batch.refused:
            self.remedies |= dict.fromkeys(batch.remedies)
            room = MOST_FAULTS - len(self.faults)
            self.faults += [(before + row, reason) for row, reason in batch.faults[:room]]

    def finish(self, model: str) -> None:
        """Close the files and describe them; the folder is whole then."""
        self.close()
        described = {
            name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
            for name in _FILES
            if (path := self._folder / name)
        }
        meta = {name: self.counts[name] for name in _COUNTS} | {
            "tokens": self.tokens,
            "dtype": self._dtype,
            "fingerprint": self._digest.hexdigest(),
            "notices": [*self._in_parts(model), *self.unseen.notices(model)],
            "files": described,
        }
        write_json(self._folder / "meta.json", meta)

    def close(self) -> None:
        for file in self._files:
            file.close()

    def _in_parts(self, model: str) -> list[str]:
        """A notice where a conversation is more than one example (`ChatTokenizer.parts`)."""
        rows = self.counts["rows"] - self.counts["dropped"]
        if self.examples <= rows:
            return []
        return [
            f"{rows:,} conversations are learnt as {self.examples:,} examples: the chat template "
            f"of {model} shows earlier turns otherwise once later ones follow, so each answer is "
            "learnt as it is asked for."
        ]

    def _digest_batch(self, batch: Batch) -> None:
        """The fingerprint: of each example its ids as 8 bytes each, its mask as a byte each."""
        ids = np.frombuffer(batch.ids, dtype=self._dtype).astype("<i8")
        mask = np.unpackbits(np.frombuffer(batch.mask, dtype=np.uint8))
        start = first = 0
        for length in np.frombuffer(batch.lengths, dtype="<i4").tolist():
            self._digest.update(ids[start : start + length].tobytes())
            self._digest.update(b"|" + mask[first : first + length].tobytes() + b"\n")
            start += length
            first += (length + 7) // 8 * 8
        self.tokens += start


def _check(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    for name in _FILES:
        expected, path = files[name], folder / name
        size = path.stat().st_size if path.is_file() else 0
        if size != expected["bytes"]:
            raise Damaged(f"{name} has {size} bytes, and {expected['bytes']} were written")
        if sha256_file(path) != expected["sha256"]:
            raise Damaged(f"{name} has other bytes than were written")


def _mapped(path: Path, dtype: str) -> NDArray[Any]:
    if not path.stat().st_size:  # nothing can't be mapped
        return np.empty(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r")


def _starts(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Where each of some stretches begins that lie end to end."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return ends - lengths
