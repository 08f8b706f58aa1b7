"""Differences in words: token ids with their texts, so that a person sees what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from phoundry.serving.parity.conversations import Conversation
from phoundry.serving.parity.steps import Divergence
from phoundry.specs.parity import DifferenceKind, ParityDifference

AROUND = 4  # tokens shown before and after the first that differs
MOST = 1e6  # stands for "infinitely far behind", which JSON has no number for
Text = Callable[[int], str]


def prompt_difference(
    number: int,
    conversation: Conversation,
    expected: Sequence[int] | None,
    found: Sequence[int] | None,
    text: Text,
) -> ParityDifference:
    """How two renderings differ; None: the template refuses the conversation."""
    kind: DifferenceKind = "prompt"
    whose = "training's" if conversation.recorded else "transformers'"
    asked = conversation.asked
    if expected is None or found is None:
        who = "the replica" if found is None else "transformers"
        message = f"{who}'s template refuses it, and the other does not"
        return ParityDifference(kind=kind, conversation=number, asked=asked, message=message)
    pairs = enumerate(zip(expected, found, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(expected), len(found)))
    window = slice(max(0, at - AROUND), at + AROUND + 1)
    return ParityDifference(
        kind=kind,
        conversation=number,
        asked=asked,
        message=f"the prompt is not {whose} from token {at + 1} on ({len(expected)} tokens "
        f"there, {len(found)} served)",
        expected=_texts(expected[window], text),
        expected_ids=list(expected[window]),
        found=_texts(found[window], text),
        found_ids=list(found[window]),
    )


def step_difference(
    number: int, conversation: Conversation, divergence: Divergence, text: Text, *, trained: bool
) -> ParityDifference:
    """A divergence of the engine's answer, or (`trained`) of the one that training recorded."""
    who = "the tuned model, as it was trained," if trained else "the engine"
    other = "the registered model" if trained else "the reference"
    expected, found = _shown(divergence.expected, text), _shown(divergence.found, text)
    message = {
        "token": f"{who} says {found}; {other} says {expected}",
        "goes_on": f"{who} goes on with {found}; {other} ends with {expected}",
        "ends": f"{who} ends; {other} goes on with {expected}",
        "unended": f"{who} says the end token {found} and goes on: it does not know that it ends "
        "an answer",
    }[divergence.kind]
    kind: DifferenceKind = "step" if divergence.kind == "token" else "end"
    return ParityDifference(
        kind="training" if trained else kind,
        conversation=number,
        asked=conversation.asked,
        step=divergence.step + 1,
        message=message,
        expected=expected,
        expected_ids=[divergence.expected],
        found=found,
        found_ids=[] if divergence.found is None else [divergence.found],
        margin=divergence.margin,
        behind=None if divergence.kind == "unended" else min(divergence.behind, MOST),
        limit=None if divergence.kind == "unended" else divergence.limit,
    )


def average_difference(average: float, limit: float, steps: int) -> ParityDifference:
    """No one token is too far behind, and all together are."""
    return ParityDifference(
        kind="step",
        message=f"the engine's {steps} tokens are behind the reference's by {average:.4f} of the "
        f"logits' spread on average; rounding explains up to {limit:.4f}",
    )


def drift_difference(drift: float, limit: float, places: int) -> ParityDifference:
    """The registered model as a whole is not the tuned one."""
    return ParityDifference(
        kind="training",
        message=f"the registered model is not the tuned one: at {places} places of answers that "
        f"were learnt, its two likeliest tokens are further apart or nearer by {drift:.3f} of the "
        f"logits' spread; rounding explains up to {limit:.3f}",
    )


def _shown(token: int | None, text: Text) -> str:
    return "nothing" if token is None else repr(text(token))


def _texts(ids: Sequence[int], text: Text) -> str:
    return " ".join(repr(text(token)) for token in ids)
