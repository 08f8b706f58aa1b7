"""The gate's check: replay conversations through the replica, and judge what comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

from phoundry.errors import ModelError
from phoundry.serving.parity import words
from phoundry.serving.parity.conversations import Conversation, built_in, replayed
from phoundry.serving.parity.door import Door
from phoundry.serving.parity.steps import (
    Divergence,
    Place,
    Said,
    divergences,
    drifts,
    root_mean_square,
    shares,
    trained_divergences,
)
from phoundry.serving.parity.tolerances import DRIFT, TRAINED, average_of_engine, of_engine
from phoundry.specs.parity import (
    ANSWER_TOKENS,
    JUDGED_TOKENS,
    ParityDifference,
    ParityReport,
    Replay,
)
from phoundry.specs.quantization import Quantization

KEPT = 20  # differences, and near ties, of one report


class Judge(Protocol):
    """What of `Reference` a check needs."""

    @property
    def name(self) -> str: ...
    def places(
        self,
        prompt_ids: Sequence[int],
        answer_ids: Sequence[int],
        said: Sequence[int],
        end_ids: frozenset[int],
    ) -> list[Place]: ...


Render = Callable[
    [Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]] | None], "list[int] | None"
]


@dataclass(frozen=True, slots=True)
class Served:
    """What is checked. `end_ids` are the checkpoint's; `dated`: its template writes the day."""

    engine: str
    quantization: Quantization | None
    context_length: int
    end_ids: frozenset[int]
    text: words.Text
    dated: bool = False


@dataclass(slots=True)
class _Replayed:
    """One conversation: its prompt on both sides, and the engine's answer."""

    number: int
    conversation: Conversation
    expected: list[int] | None
    found: list[int] | None
    said: Said | None = None


@dataclass(slots=True)
class _Findings:
    differences: list[ParityDifference] = field(default_factory=list[ParityDifference])
    near_ties: list[ParityDifference] = field(default_factory=list[ParityDifference])
    notices: list[str] = field(default_factory=list[str])
    conversations: int = 0
    steps: int = 0
    agreed: int = 0
    behind: list[float] = field(default_factory=list[float])  # shares of the spread
    drifts: list[float] = field(default_factory=list[float])


async def check(
    served: Served,
    replay: Replay | None,
    door: Door,
    load: Callable[[], Judge],
    render: Render,
    say: Callable[[str], None] = lambda _: None,
) -> ParityReport:
    """Replay and compare.

    Args:
        replay: what training kept; None: the built-in conversations.
        load: makes the reference; called after the replica has answered, so that both do not
            work at once.
        render: transformers' own rendering, which is expected where training kept none.

    Raises:
        Unavailable, ModelError: the replica or the reference failed.
    """
    begun = time.monotonic()
    found = _Findings()
    conversations = replayed(replay) if replay else built_in()
    end_ids = served.end_ids | frozenset(replay.end_token_ids if replay else ())
    say(f"Asking the replica {len(conversations)} conversations.")
    asked = await _ask(served, replay, conversations, door, render, found)
    if not asked:
        raise ModelError(
            f"None of {len(conversations)} conversations fits the {served.context_length} tokens "
            "of this deployment, so that nothing can be compared.",
            remedy="Deploy with a larger context_length, or without the gate: --no-gate.",
        )
    say("Loading the reference.")
    judge = load()
    tolerance = of_engine(served.quantization)
    for each in asked:
        say(f"Comparing conversation {each.number} of {len(conversations)}.")
        _judge(each, judge, end_ids, tolerance, replay, served.text, found)
    average = _average(found, average_of_engine(served.quantization))
    drift = _drift(found, DRIFT) if replay else None
    return ParityReport(
        passed=not found.differences,
        engine=served.engine,
        quantization=served.quantization,
        reference=judge.name,
        source="training" if replay else "built-in",
        conversations=found.conversations,
        steps=found.steps,
        agreed=found.agreed,
        tolerance=tolerance,
        furthest=min(max(found.behind, default=0.0) / tolerance, words.MOST),
        average=average,
        drift=drift,
        differences=found.differences[:KEPT],
        near_ties=found.near_ties[:KEPT],
        notices=found.notices,
        seconds=round(time.monotonic() - begun, 3),
    )


async def _ask(
    served: Served,
    replay: Replay | None,
    conversations: Sequence[Conversation],
    door: Door,
    render: Render,
    found: _Findings,
) -> list[_Replayed]:
    """Render each on both sides, compare, and let the replica answer those that fit."""
    # A template that writes the day renders another prompt today than on the day of training.
    today = replay is not None and served.dated and replay.day != date.today().isoformat()
    if today:
        found.notices.append(
            "The chat template writes the day, which is not that of training: prompts are compared "
            "with transformers' of today instead of training's."
        )

    async def replayed_once(number: int, conversation: Conversation) -> _Replayed:
        recorded = None if today else conversation.recorded
        expected = (
            recorded.prompt_ids if recorded else render(conversation.messages, conversation.tools)
        )
        ids = await door.render(conversation.messages, conversation.tools)
        result = _Replayed(number, conversation, expected, ids)
        room = served.context_length - len(expected or ids or ())
        if (expected or ids) and room > 0:
            most = min(ANSWER_TOKENS, room)
            result.said = await door.generate(expected or ids or [], most)
        return result

    # One after the other: together, on a slow machine, each waits for all the others' prompts.
    every = [await replayed_once(number, each) for number, each in enumerate(conversations, 1)]
    for each in every:
        if each.expected != each.found:
            found.differences.append(
                words.prompt_difference(
                    each.number, each.conversation, each.expected, each.found, served.text
                )
            )
        elif each.expected is None:
            found.notices.append(
                f"Conversation {each.number} is left out: the template refuses it on both sides."
            )
        elif each.said is None:
            found.notices.append(
                f"Conversation {each.number} is left out: its {len(each.expected)} tokens leave "
                f"no room in the context of {served.context_length}."
            )
    return [each for each in every if each.said is not None]


def _judge(
    replayed: _Replayed,
    judge: Judge,
    end_ids: frozenset[int],
    tolerance: float,
    replay: Replay | None,
    text: words.Text,
    found: _Findings,
) -> None:
    """Compare the engine's answer, and what the tuned model said, with the reference."""
    said, prompt = replayed.said, replayed.expected or replayed.found or []
    assert said is not None  # noqa: S101 - those without an answer are left out before
    number, conversation = replayed.number, replayed.conversation
    places = judge.places(prompt, said.ids, said.ids, end_ids)
    apart = divergences(said, places, end_ids, tolerance)
    found.conversations += 1
    found.steps += len(said.ids) + said.ended
    found.agreed += len(said.ids) + said.ended - len(apart)
    found.behind += shares(said, places, end_ids)
    _keep(found, number, conversation, apart, text, trained=False)
    if (recorded := conversation.recorded) is None or replay is None:
        return
    greedy = recorded.greedy_ids[:JUDGED_TOKENS]
    answer = recorded.answer_ids[:JUDGED_TOKENS]
    places = judge.places(recorded.prompt_ids, answer, greedy, end_ids)
    apart = trained_divergences(greedy, places, end_ids, TRAINED)
    _keep(found, number, conversation, apart, text, trained=True)
    found.drifts += drifts(recorded.margins, places)


def _average(found: _Findings, limit: float) -> float:
    """How far the engine's tokens are behind on the whole, as a share of `limit`."""
    average = sum(found.behind) / max(1, found.steps)
    if average > limit:
        found.differences.append(words.average_difference(average, limit, found.steps))
    return min(average / limit, words.MOST)


def _drift(found: _Findings, limit: float) -> float:
    """How far the registered model is from the tuned one, as a share of `limit`."""
    drift = root_mean_square(found.drifts)
    if drift > limit:
        found.differences.append(words.drift_difference(drift, limit, len(found.drifts)))
    return drift / limit


def _keep(
    found: _Findings,
    number: int,
    conversation: Conversation,
    apart: Sequence[Divergence],
    text: words.Text,
    *,
    trained: bool,
) -> None:
    for each in apart:
        shown = words.step_difference(number, conversation, each, text, trained=trained)
        (found.near_ties if each.allowed else found.differences).append(shown)
