"""What is replayed: what training kept, else a handful of conversations that strain a template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from phoundry.errors import InvalidInput
from phoundry.files import read_json
from phoundry.specs.parity import Replay, ReplayConversation

SHOWN = 60  # characters of a question, in a report

_LONG = " ".join(
    f"Point {number}: the office answers within {number + 2} weeks, unless the drawings lack a "
    "scale, the neighbours were not heard, or the fee of 1,250.75 was paid late."
    for number in range(1, 9)
)
_BUILT_IN: tuple[tuple[tuple[str, str], ...], ...] = (
    (("user", "Who founded Microsoft?"),),
    (
        ("system", "You are a helpful assistant. Answer in one short sentence."),
        ("user", "What is the capital of France?"),
    ),
    (
        ("user", "My name is Ada. What is 17 + 25?"),
        ("assistant", "17 + 25 = 42."),
        ("user", "And what is my name?"),
    ),
    (
        (
            "user",
            "Översätt: ”Smörgåsbord är gott!” — 日本語も？ 🙂\n\n\tNaïve café, Ωμέγα.",
        ),
    ),
    (("user", f"{_LONG}\n\nSummarise the points above in two sentences."),),
    (("user", "Write a Python function that returns the n-th Fibonacci number:\n```python\n"),),
)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One to be replayed. `recorded`: what training kept of it."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] | None = None
    recorded: ReplayConversation | None = None

    @property
    def asked(self) -> str:
        """Its last message in one line, cut."""
        text = " ".join(str(self.messages[-1].get("content") or "").split())
        return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def built_in() -> list[Conversation]:
    """For models that were not trained here: system, two turns, Unicode, long, code."""
    return [
        Conversation([{"role": role, "content": text} for role, text in turns])
        for turns in _BUILT_IN
    ]


def read_replay(path: Path) -> Replay | None:
    """What training kept, or None where there is no such file or nothing in it.

    Raises:
        InvalidInput: it is damaged.
    """
    try:
        found = read_json(path)
        replay = None if found is None else Replay.model_validate(found)
    except (ValueError, ValidationError) as error:
        raise InvalidInput(
            f"{path} is not what training writes: {str(error).splitlines()[0]}.",
            remedy="Put the file back from a copy, or train and register again.",
        ) from None
    return replay if replay and replay.conversations else None


def replayed(replay: Replay) -> list[Conversation]:
    return [Conversation(each.messages, each.tools, each) for each in replay.conversations]
