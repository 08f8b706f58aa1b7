"""A data file's conversations as tokens for one model: made once, then taken from the cache.

The folder `tokens/KEY/` of the cache holds them (layout: token_files.py). KEY is a hash of all that
the bytes depend on: the data, the tokenizer's files, the greatest length and what is done with a
conversation over it, this room's code and the libraries under it. The folder appears whole or not
at all; one that was damaged afterwards is noticed, said and made again.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phoundry.data import token_workers
from phoundry.data.checkpoint import TOKENIZER_FILES
from phoundry.data.rows import check_messages
from phoundry.data.token_files import Damaged, TokenSet, TokenWriter
from phoundry.data.token_workers import Range
from phoundry.data.tokenise import id_code
from phoundry.data.tokenizer import ChatTokenizer, Example
from phoundry.errors import Fault, InsufficientResources, InvalidInput, NotFound
from phoundry.files import atomic_folder

if TYPE_CHECKING:
    from phoundry.specs.finetune import Truncation

__all__ = ["Example", "TokenSet", "prepare"]

# What one process takes at a time: small enough that all have work until the end.
BATCH_BYTES = 2 * 1024 * 1024
Say = Callable[[str], None]


def prepare(
    path: Path,
    checkpoint_dir: Path,
    cache_dir: Path,
    *,
    max_tokens: int,
    truncation: Truncation = "drop_turns",
    workers: int | None = None,
    say: Say | None = None,
) -> TokenSet:
    """The conversations of `path` (canonical JSONL) for the model in `checkpoint_dir`, rendered.

    `truncation` says what is done with one over `max_tokens` (data/fitting.py). What was made
    before is taken from `cache_dir`. `workers` processes make it (None: one a core, and none for
    little data); `say` hears how far they are.

    Raises:
        NotFound: there is no such file, or no tokenizer.
        InvalidInput: rows can't be read or rendered, or are refused for their length: all are
            counted, the first ones told.
        InsufficientResources: the disk is full.
    """
    heard = say or _hear_nothing
    digest, ranges = _scan(path)
    key = _key(digest, checkpoint_dir, max_tokens, truncation)
    folder = cache_dir / "tokens" / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(f".{key}.lock")):
        found = _open(folder, heard)
        if found is None:
            count = min(len(ranges), token_workers.cores() if workers is None else workers)
            with _full_disk_told(path, cache_dir), atomic_folder(folder) as working:
                _make(path, checkpoint_dir, max_tokens, truncation, ranges, count, heard, working)
            found = _open(folder, heard)
    if found is None:
        raise NotFound(f"{folder} was removed while it was made.", remedy="Try again.")
    return found


def _make(
    path: Path,
    checkpoint_dir: Path,
    max_tokens: int,
    truncation: Truncation,
    ranges: list[Range],
    workers: int,
    say: Say,
    folder: Path,
) -> None:
    tokenizer = ChatTokenizer.load(checkpoint_dir)
    if workers > 1:
        made = token_workers.tokenise_apart(
            path, checkpoint_dir, max_tokens, ranges, workers, truncation
        )
    else:
        made = token_workers.tokenise_here(path, tokenizer, max_tokens, ranges, truncation)
    # Both are closed at once if anything fails, and the processes with them.
    with closing(made) as batches, closing(TokenWriter(folder, id_code(tokenizer))) as writer:
        for (_, end), batch in zip(ranges, batches, strict=True):
            writer.add(batch)
            if len(ranges) > 1:
                whole = ranges[-1][1] / 1e6
                say(f"Tokenised {end / 1e6:.0f} of {whole:.0f} MB: {writer.tokens:,} tokens.")
        _raise_faults(path, tokenizer.name, max_tokens, writer)
        writer.finish(tokenizer.name)


def _raise_faults(path: Path, model: str, max_tokens: int, writer: TokenWriter) -> None:
    rows = writer.counts["rows"]
    if writer.counts["unreadable"] or not rows:
        check_messages(path)  # says what is wrong with each
    if refused := writer.counts["refused"]:
        what = f"cannot be used for {model}"
        if refused == writer.counts["too_long"]:
            what = f"have more than {max_tokens:,} tokens"
        raise InvalidInput(
            f"{refused} of {rows} conversations {what}.",
            faults=[Fault(f"row:{number}", reason) for number, reason in writer.faults],
            total=refused,
            remedy=" ".join(writer.remedies) or None,
        )


def _open(folder: Path, say: Say) -> TokenSet | None:
    try:
        return TokenSet.open(folder)
    except Damaged as damage:
        say(f"The token cache {folder.name} is damaged ({damage}); it is made again.")
        return None


def _scan(path: Path) -> tuple[str, list[Range]]:
    """SHA-256 of the file, and stretches of whole lines of about `BATCH_BYTES`."""
    digest = hashlib.sha256()
    ranges: list[Range] = []
    start = end = 0
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.") from None
    with file:
        while block := file.read(BATCH_BYTES):
            # A line may be longer than a block: the stretch then ends in a later one.
            digest.update(block)
            if newline := block.rfind(b"\n") + 1:
                ranges.append((start, end + newline))
                start = end + newline
            end += len(block)
    if start < end:
        ranges.append((start, end))
    return digest.hexdigest(), ranges


def _key(digest: str, checkpoint_dir: Path, max_tokens: int, truncation: str) -> str:
    parts = [digest, str(max_tokens), truncation, *_renderer()]
    for name in TOKENIZER_FILES:
        file = checkpoint_dir / name
        parts.append(hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "none")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _renderer() -> Iterator[str]:
    """What renders: libraries, and this room's code itself, so that no change can be forgotten."""
    import jinja2
    import tokenizers

    yield f"tokenizers {tokenizers.__version__} jinja2 {jinja2.__version__}"
    here = Path(__file__).parent
    for file in sorted(here.rglob("*")):
        if file.suffix in (".py", ".jinja", ".json"):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            yield f"{file.relative_to(here).as_posix()} {content}"


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """One process at a time; the others wait, and then find what it has made."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def _full_disk_told(path: Path, cache_dir: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InsufficientResources(
            f"The disk is full: the tokens of {path.name} don't fit into {cache_dir}.",
            remedy="Make room there (phoundry prune shows what can go), and try again.",
        ) from None


def _hear_nothing(text: str) -> None:
    """For callers that don't ask."""
