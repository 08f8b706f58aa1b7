"""The output of a batch: two files that grow in the order of the input, whatever ends first.

    answers.jsonl   what was answered, in OpenAI's batch output format
    errors.jsonl    what was refused or could not be asked, in the same format

Every line has its place in the input in its `id`, so what is on disk after a kill, or after a power
cut that wrote one file and not the other, can be told apart: the longest beginning of the input
that is whole stays, the rest is cut off and asked again.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar, cast

from phoundry.serving.asgi import encode

ANSWERS = "answers.jsonl"
ERRORS = "errors.jsonl"
_ID = re.compile(r"batch_req_(\d+)")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """One line to write. `broken`: the engine failed, which other requests may show, too."""

    index: int
    record: dict[str, Any]
    failed: bool = False
    broken: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(slots=True)
class Counts:
    """What was written so far."""

    done: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, answer: Answer) -> None:
        self.done += 1
        self.failed += answer.failed
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens


class Reorder(Generic[T]):
    """Gives out what was put in at numbered places, in their order and without gaps."""

    def __init__(self, following: int = 0) -> None:
        self.following = following  # the place that is waited for
        self._early: dict[int, T] = {}

    def put(self, place: int, item: T) -> list[T]:
        """What can be given out now that `item` is there."""
        if place < self.following or place in self._early:
            raise ValueError(f"place {place} was filled before")
        self._early[place] = item
        ready: list[T] = []
        while self.following in self._early:
            ready.append(self._early.pop(self.following))
            self.following += 1
        return ready


@dataclass(slots=True)
class Answers:
    """The two files. `counts` are those of the lines that are on disk, or will be after `flush`."""

    folder: Path
    counts: Counts = field(default_factory=Counts)
    _pending: list[Answer] = field(default_factory=list[Answer])

    @classmethod
    def open(cls, folder: Path) -> Answers:
        """Go on from what is in `folder`, cutting off what has no whole beginning before it."""
        folder.mkdir(parents=True, exist_ok=True)
        answers = cls(folder)
        answers._recover()
        return answers

    def add(self, answer: Answer) -> None:
        """The next line in order; written by the next `flush`."""
        if answer.index != self.counts.done:
            raise ValueError(f"line {answer.index} is not the next one, {self.counts.done}")
        self._pending.append(answer)
        self.counts.add(answer)

    def flush(self) -> None:
        """Write what was added; it survives a power cut once this returns."""
        if not self._pending:
            return
        for name, failed in ((ANSWERS, False), (ERRORS, True)):
            lines = [encode(each.record) for each in self._pending if each.failed is failed]
            if lines:
                _append(self.folder / name, b"".join(line + b"\n" for line in lines))
        self._pending.clear()

    def _recover(self) -> None:
        paths = [self.folder / ANSWERS, self.folder / ERRORS]
        for path in paths:
            path.touch(mode=0o600)
        with paths[0].open("rb") as one, paths[1].open("rb") as other:
            readers = [_whole(one, failed=False), _whole(other, failed=True)]
            heads = [next(reader, None) for reader in readers]
            kept = [0, 0]
            while True:
                wanted = self.counts.done
                which = next((n for n, h in enumerate(heads) if h and h[0].index == wanted), None)
                if which is None:
                    break
                head = heads[which]
                assert head is not None  # noqa: S101 - chosen for it
                self.counts.add(head[0])
                kept[which] = head[1]
                heads[which] = next(readers[which], None)
        for path, size in zip(paths, kept, strict=True):
            if path.stat().st_size > size:
                os.truncate(path, size)


def new_id(index: int) -> str:
    return f"batch_req_{index:08d}"


def usage_of(body: Any) -> tuple[int, int]:
    """Tokens of the prompt and of the answer that an answer's body tells of."""
    usage: Any = cast("dict[str, Any]", body).get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return 0, 0
    found = cast("dict[str, Any]", usage)
    return int(found.get("prompt_tokens") or 0), int(found.get("completion_tokens") or 0)


def _append(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _whole(file: BinaryIO, *, failed: bool) -> Iterator[tuple[Answer, int]]:
    """The lines up to the first that is not whole, each with the offset of its end."""
    end = 0
    for line in file:
        end += len(line)
        if not line.endswith(b"\n") or (answer := _parsed(line, failed)) is None:
            return
        yield answer, end


def _parsed(line: bytes, failed: bool) -> Answer | None:
    try:
        record: dict[str, Any] = json.loads(line)
        match = _ID.fullmatch(record["id"])
        response: dict[str, Any] = record.get("response") or {}
        body: Any = response.get("body")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if match is None:
        return None
    prompt, completion = usage_of(body)
    return Answer(int(match[1]), record, failed, False, prompt, completion)
