"""The comparison itself: an answer's tokens against what the reference makes of each place.

The reference reads the prompt and the answer at once (teacher forcing), so every place is judged
after the same tokens on both sides, and a step that goes another way spoils none after it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Place:
    """What the reference thinks of the token at one place of an answer. Numbers are logits.

    `best`: its likeliest token. `margin`: how far that is before the second likeliest. `behind`:
    how far the answer's token is behind it; `end_behind`: how far the likeliest end token is.
    `spread`: standard deviation of the logits over the vocabulary.
    """

    best: int
    margin: float
    behind: float
    end_behind: float
    spread: float


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: its tokens without the one that ended it; whether it came to its own end."""

    ids: tuple[int, ...]
    ended: bool


@dataclass(frozen=True, slots=True)
class Divergence:
    """A place where both go different ways, and whether rounding explains it.

    `step` counts from 0 and is `len(ids)` where the answer ends. `kind`: "token": another one;
    "goes_on": the reference ends here; "ends": the answer does, the reference goes on; "unended":
    an end token stands inside the answer, so whoever said it did not know it for one.
    """

    step: int
    kind: Literal["token", "goes_on", "ends", "unended"]
    expected: int
    found: int | None
    margin: float
    behind: float
    limit: float
    allowed: bool


def divergences(
    said: Said, places: Sequence[Place], end_ids: Collection[int], tolerance: float
) -> list[Divergence]:
    """Every place where `said` is not what the reference says, in order.

    One is allowed where the token is behind the reference's by at most `tolerance` times the
    spread there. That is never more lenient than asking whether the reference's two likeliest are
    so near: the token that was said is the second likeliest or further behind.

    Args:
        places: one for each token, and one for what comes after the last.
    """
    if len(places) != len(said.ids) + 1:
        raise ValueError(f"{len(places)} places for {len(said.ids)} tokens and an end")
    found: list[Divergence] = []
    for step, (token, place) in enumerate(zip(said.ids, places, strict=False)):
        limit = tolerance * place.spread
        if token in end_ids:
            found.append(_divergence(step, "unended", place, token, place.behind, limit, False))
        elif token != place.best:
            kind = "goes_on" if place.best in end_ids else "token"
            allowed = place.behind <= limit
            found.append(_divergence(step, kind, place, token, place.behind, limit, allowed))
    last = places[-1]
    if said.ended and last.best not in end_ids:
        limit = tolerance * last.spread
        allowed = last.end_behind <= limit
        step = len(said.ids)
        found.append(_divergence(step, "ends", last, None, last.end_behind, limit, allowed))
    return found


def trained_divergences(
    greedy: Sequence[int], places: Sequence[Place], end_ids: Collection[int], tolerance: float
) -> list[Divergence]:
    """Where the reference says another token than the tuned model did, along the same answer.

    Args:
        greedy: what the tuned model said at each place.
        places: the reference's, of as many tokens or more, each judging the one of `greedy`.
    """
    found: list[Divergence] = []
    for step, (token, place) in enumerate(zip(greedy, places, strict=False)):
        both_end = token in end_ids and place.best in end_ids
        if token == place.best or both_end:
            continue
        kind = "ends" if token in end_ids else "goes_on" if place.best in end_ids else "token"
        limit = tolerance * place.spread
        allowed = place.behind <= limit
        found.append(_divergence(step, kind, place, token, place.behind, limit, allowed))
    return found


def drifts(margins: Sequence[float], places: Sequence[Place]) -> list[float]:
    """How far the reference's margin is from the tuned model's at each place, as a share of the
    spread. A model that was merged wrongly may choose the same tokens, and less or more surely."""
    pairs = zip(margins, places, strict=False)
    return [abs(margin - place.margin) / (place.spread or 1.0) for margin, place in pairs]


def root_mean_square(values: Sequence[float]) -> float:
    return math.sqrt(sum(value * value for value in values) / len(values)) if values else 0.0


def shares(said: Said, places: Sequence[Place], end_ids: Collection[int]) -> list[float]:
    """How far each token that is not the reference's is behind, as a share of the spread there;
    the largest is the smallest tolerance under which `said` passes. Unended answers are left out.
    """
    every = divergences(said, places, end_ids, 0.0)
    return [_share(each, places[each.step]) for each in every if each.kind != "unended"]


def _share(divergence: Divergence, place: Place) -> float:
    return divergence.behind / place.spread if place.spread else float(divergence.behind > 0)


def _divergence(
    step: int,
    kind: Literal["token", "goes_on", "ends", "unended"],
    place: Place,
    found: int | None,
    behind: float,
    limit: float,
    allowed: bool,
) -> Divergence:
    return Divergence(step, kind, place.best, found, place.margin, behind, limit, allowed)
