"""Sides that are asked in turn, round by round, so that other work meets all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.serve.load import Round
from benchmarks.serve.sides import Questions

EACH = 2  # requests of a client in a round


@dataclass(frozen=True, slots=True)
class Rounds:
    """How often each side is asked, and for how long answers."""

    rounds: int
    max_tokens: int


class Side(Protocol):
    @property
    def name(self) -> str: ...

    async def play(self, shares: Sequence[Sequence[int]], max_tokens: int) -> Round: ...


def in_turn(
    sides: Sequence[Side], streams: int, questions: Questions, options: Rounds
) -> list[list[Round]]:
    """The rounds of each side, in the order of `sides`; one more is played first, to warm up."""
    return asyncio.run(_in_turn(sides, streams, questions, options))


async def _in_turn(
    sides: Sequence[Side], streams: int, questions: Questions, options: Rounds
) -> list[list[Round]]:
    found: list[list[Round]] = [[] for _ in sides]
    for number in range(-1, options.rounds):
        # Other questions in each round: nobody finds a prompt that he has seen.
        share = questions.share(streams, EACH, streams * EACH * (number + 1))
        order = list(zip(found, sides, strict=True))
        if number % 2:
            order.reverse()
        for into, side in order:
            answered = await side.play(share, options.max_tokens)
            if number >= 0:
                into.append(answered)
    shown = {side.name: [r.rate for r in of] for side, of in zip(sides, found, strict=True)}
    say(f"{streams} streams", shown)
    return found


def say(title: str, rates: dict[str, list[float]]) -> None:
    for name, values in rates.items():
        shown = " ".join(f"{value:.1f}" for value in values)
        print(f"{title:<14} {name:<28} {shown} tokens/s", flush=True)
