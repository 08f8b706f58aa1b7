"""Secrets out of messages: what a tool raises or prints may quote a key, as it is or in one of its
`spellings`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

from phoundry.flows.session.spellings import LINE_FROM, Spelled, starts

HIDDEN = "***"  # as `specs.connection` has it, which costs a session's start too much
Value = TypeVar("Value", str, dict[str, Any], Any)


def redact(value: Value, secrets: Sequence[str]) -> Value:
    """`value` (text, or JSON of any depth) with every one of `secrets` as `***`, however it is
    spelled; the longest first."""
    return _hidden(value, _spelled(tuple(secrets))) if secrets else value


def tail(text: str, secrets: Sequence[str], length: int, *, cut: bool = False) -> str:
    """The last `length` characters of `text`, without `secrets` or a part of one. `cut`: `text` has
    lost its beginning, perhaps in the middle of a secret."""
    shown = redact(text, secrets)
    if cut:
        shown = shown[_longest(secrets) :]
    return shown[-length:]


class RedactedStream:
    """A text that comes in pieces, without `secrets`, though one may stand across their borders."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._spelled = _spelled(tuple(secrets))
        self._longest = _longest(secrets)
        self._starts = starts(self._spelled)
        self._held = ""

    def feed(self, piece: str) -> str:
        """What may be shown now: all, unless its end may be the beginning of a secret."""
        text = self._held + piece
        cut = self._cut(text)
        self._held = text[cut:]
        return _hidden(text[:cut], self._spelled)

    def end(self) -> str:
        """The rest."""
        text, self._held = self._held, ""
        return _hidden(text, self._spelled)

    def _cut(self, text: str) -> int:
        start = max(0, len(text) - self._longest)
        places = (found.start() for found in self._starts.finditer(text, start))
        cut = next((at for at in places if self._begins(text, at)), len(text))
        moved = cut < len(text)
        while moved:  # what is cut must not be a whole one, either
            moved = False
            for place, end in (span for each in self._spelled for span in each.spans(text)):
                if place < cut < end:
                    cut, moved = place, True
        return cut

    def _begins(self, text: str, at: int) -> bool:
        return any(each.begins(text, at) for each in self._spelled)


@lru_cache(maxsize=16)
def _spelled(secrets: tuple[str, ...]) -> list[Spelled]:
    lines: set[str] = set()
    for secret in secrets:  # logs show a key of several lines a line at a time
        parts = secret.splitlines() if "\n" in secret else []
        lines |= {line for line in parts if len(line) >= LINE_FROM and line[:5] != "-----"}
    found = [Spelled(text) for text in set(secrets)]
    found += [Spelled(text, encoded=False) for text in lines.difference(secrets)]
    return sorted(found, key=lambda each: (-len(each.secret), each.secret))


def _longest(secrets: Sequence[str]) -> int:
    return max((each.longest for each in _spelled(tuple(secrets))), default=0)


def _hidden(value: Any, spelled: list[Spelled]) -> Any:
    if isinstance(value, str):
        text = value
        for each in spelled:
            text = each.hide(text, HIDDEN)
        return text
    if isinstance(value, dict):
        return {_hidden(key, spelled): _hidden(item, spelled) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [_hidden(item, spelled) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value
