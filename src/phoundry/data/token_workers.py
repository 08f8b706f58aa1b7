"""Batches of a data file, in order, made by processes side by side.

Processes and not threads: rendering holds Python's lock. They are plain children that read from a
pipe: when this process ends, however it ends, they read its end and end too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, BinaryIO, cast

from phoundry.data.tokenise import Batch, read_range, tokenise
from phoundry.data.tokenizer import ChatTokenizer
from phoundry.errors import WorkerFailed
from phoundry.settings import child_environ

if TYPE_CHECKING:
    from phoundry.specs.finetune import Truncation

Range = tuple[int, int]  # bytes of the file, from and to, whole lines
# Batches asked for ahead of the one that is needed, for each process: what bounds the memory.
_AHEAD = 2


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tokenise_here(
    data: Path,
    tokenizer: ChatTokenizer,
    max_tokens: int,
    ranges: Sequence[Range],
    truncation: Truncation = "drop_turns",
) -> Generator[Batch]:
    """In this process: what little data is done with before another has started."""
    with data.open("rb") as file:
        for start, end in ranges:
            yield tokenise(tokenizer, read_range(file, start, end), max_tokens, truncation)


def tokenise_apart(
    data: Path,
    checkpoint_dir: Path,
    max_tokens: int,
    ranges: Sequence[Range],
    workers: int,
    truncation: Truncation = "drop_turns",
) -> Generator[Batch]:
    """In `workers` processes, which are gone when the iterator is closed or the last one is had.

    Raises:
        WorkerFailed: one of them ended by itself.
    """
    processes = [_start(data, checkpoint_dir, max_tokens, truncation) for _ in range(workers)]
    free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
    for process in processes:
        free.put(process)

    def ask(part: Range) -> Batch:
        process = free.get()
        try:
            return _ask(process, part)
        finally:
            free.put(process)

    threads = ThreadPoolExecutor(workers, thread_name_prefix="tokenise")
    try:
        pending: deque[Future[Batch]] = deque()
        for part in ranges:
            pending.append(threads.submit(ask, part))
            if len(pending) > _AHEAD * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for process in processes:
            process.kill()
        threads.shutdown(cancel_futures=True)
        for process in processes:
            process.communicate()


def _start(
    data: Path, checkpoint_dir: Path, max_tokens: int, truncation: Truncation
) -> subprocess.Popen[bytes]:
    # One core each: the library's own threads would only get into each other's way.
    environ = child_environ() | {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "phoundry.data.tokenise"]
    paths = [str(data.absolute()), str(checkpoint_dir.absolute())]
    return subprocess.Popen(
        [*command, *paths, str(max_tokens), truncation],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ,
    )


def _ask(process: subprocess.Popen[bytes], part: Range) -> Batch:
    try:
        requests = cast("BinaryIO", process.stdin)
        requests.write(f"{part[0]} {part[1]}\n".encode())
        requests.flush()
        return Batch.read(cast("BinaryIO", process.stdout))
    except (EOFError, BrokenPipeError):
        raise WorkerFailed(
            f"A process that tokenises data ended with code {process.wait()}.",
            remedy="It may have been killed for memory: look into the log, and try again.",
        ) from None
