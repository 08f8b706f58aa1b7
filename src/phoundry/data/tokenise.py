"""A stretch of a data file as tokens: what one process does at a time.

    python -m phoundry.data.tokenise DATA CHECKPOINT MAX_TOKENS TRUNCATION

is a process that does so for another (token_workers.py): a line `START END` comes in, a batch goes
out. It ends when its input does, so that it never outlives who asked.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from phoundry.data.examples import Unseen
from phoundry.data.fitting import TooLong, fit_parts
from phoundry.data.formats.conversation import read_conversation
from phoundry.data.json_text import load_json
from phoundry.data.row import BadRow, Row
from phoundry.data.tokenizer import ChatTokenizer
from phoundry.errors import InvalidInput

if TYPE_CHECKING:
    from phoundry.specs.finetune import Truncation

# Of one batch's faults, so many are told; all are counted.
MOST_FAULTS = 100
_HEADER = (
    *("rows", "truncated", "dropped", "cut", "unreadable"),
    *("refused", "too_long", "faults", "remedies", "unseen"),
)
_BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Batch:
    """The rows of some lines.

    `ids` has the token ids of all of them, 2 or 4 bytes each; `mask` a bit a token, each row's
    beginning with a byte of its own; `lengths` and `supervised` 4 bytes a row. `cut`: tokens that
    were cut off or left out. `faults` are the refused rows: (number in the batch, from 1; reason);
    `too_long` of them have nothing wrong but their length.
    """

    ids: bytes = b""
    mask: bytes = b""
    lengths: bytes = b""
    supervised: bytes = b""
    rows: int = 0
    truncated: int = 0
    dropped: int = 0
    cut: int = 0
    unreadable: int = 0
    refused: int = 0
    too_long: int = 0
    faults: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    remedies: list[str] = field(default_factory=list[str])
    unseen: Unseen = field(default_factory=Unseen)

    def refuse(self, number: int, error: InvalidInput) -> None:
        """Count a row, and tell of it unless many were told of already."""
        self.refused += 1
        self.too_long += isinstance(error, TooLong)
        if error.remedy and error.remedy not in self.remedies:
            self.remedies.append(error.remedy)
        if len(self.faults) < MOST_FAULTS:
            self.faults.append((number, error.message))

    def write(self, file: BinaryIO) -> None:
        """As `read` takes it: the length of a JSON header, the header, the four arrays."""
        arrays = (self.ids, self.mask, self.lengths, self.supervised)
        values = {name: getattr(self, name) for name in _HEADER}
        header = json.dumps({"sizes": [len(content) for content in arrays], **values}).encode()
        file.write(struct.pack("<I", len(header)) + header)
        for content in arrays:
            file.write(content)
        file.flush()

    @classmethod
    def read(cls, file: BinaryIO) -> Batch:
        """Raises EOFError: the writer has ended."""
        (size,) = struct.unpack("<I", _exactly(file, 4))
        header = json.loads(_exactly(file, size))
        arrays = [_exactly(file, length) for length in header.pop("sizes")]
        batch = cls(**dict(zip(("ids", "mask", "lengths", "supervised"), arrays, strict=True)))
        for name, value in header.items():
            setattr(batch, name, value)
        batch.unseen = Unseen(batch.unseen)
        return batch


def id_code(tokenizer: ChatTokenizer) -> str:
    """`array`'s letter for the smallest unsigned numbers that hold the ids: "H" or "I"."""
    return "H" if tokenizer.highest_id < 1 << 16 else "I"


def tokenise(
    tokenizer: ChatTokenizer,
    lines: bytes,
    max_tokens: int,
    truncation: Truncation = "drop_turns",
) -> Batch:
    """The rows of `lines`, each as an example of at most `max_tokens`.

    Rows that can't be read or rendered are counted and told, and no error.
    """
    import numpy as np

    batch = Batch()
    ids: array[int] = array(id_code(tokenizer))
    lengths, supervised = array("i"), array("i")
    masks: list[bytes] = []
    for number, row in _rows(lines, batch):
        try:
            parts = fit_parts(tokenizer, row["messages"], max_tokens, row.get("tools"), truncation)
        except InvalidInput as error:
            batch.refuse(number, error)
            continue
        batch.cut += sum(fitted.cut for fitted in parts)
        kept = [fitted.example for fitted in parts if fitted.example is not None]
        if not kept:
            batch.dropped += 1
            continue
        batch.truncated += len(kept) < len(parts) or any(fitted.shortened for fitted in parts)
        for part in tokenizer.unseen(row["messages"], row.get("tools")):
            batch.unseen.add(part, 1, number)
        for example in kept:
            mask = np.frombuffer(bytes(example.loss_mask), dtype=np.uint8)
            ids.extend(example.token_ids)
            masks.append(np.packbits(mask).tobytes())
            lengths.append(len(mask))
            supervised.append(int(mask.sum()))
    batch.ids, batch.mask = ids.tobytes(), b"".join(masks)
    batch.lengths, batch.supervised = lengths.tobytes(), supervised.tobytes()
    return batch


def _rows(lines: bytes, batch: Batch) -> Iterator[tuple[int, Row]]:
    for line in lines.split(b"\n"):
        if not line.strip():
            continue
        batch.rows += 1
        try:
            yield batch.rows, read_conversation(load_json(line))
        except BadRow:
            batch.unreadable += 1


def read_range(file: BinaryIO, start: int, end: int) -> bytes:
    """Bytes of a data file, without the byte order mark that it may begin with."""
    file.seek(start)
    content = file.read(end - start)
    return content.removeprefix(_BOM) if start == 0 else content


def _exactly(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _serve(data: Path, checkpoint_dir: Path, max_tokens: int, truncation: Truncation) -> None:
    # Whatever a library prints must not come between the batches.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    tokenizer = ChatTokenizer.load(checkpoint_dir)
    with data.open("rb") as file, answer:
        for request in sys.stdin:
            start, end = (int(number) for number in request.split())
            batch = tokenise(tokenizer, read_range(file, start, end), max_tokens, truncation)
            batch.write(answer)


if __name__ == "__main__":
    told = sys.argv[1:]
    _serve(Path(told[0]), Path(told[1]), int(told[2]), cast("Truncation", told[3]))
