"""What training leaves for the deploy gate: a few conversations as it saw them, and what the tuned
model makes of them.

Written after the output, from the same weights, in `parity.json` beside it (specs/parity.py has the
format). A deployment is later held to the very ids, and to what this model says at every place of
an answer, so that a changed chat template, a lost end token or a broken merge is found before the
first request. That takes one forward pass for each conversation; writing answers token by token
would take some thirty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, cast

from phoundry.data import ChatMessage, RefusedRow, iter_messages
from phoundry.data.tokenizer import ChatTokenizer
from phoundry.errors import InvalidInput
from phoundry.files import write_json
from phoundry.specs.finetune import FineTuneParameters
from phoundry.specs.parity import (
    CONVERSATIONS,
    JUDGED_TOKENS,
    REPLAY_FILE,
    Replay,
    ReplayConversation,
)
from phoundry.training.examples import Sample, Samples

Tools = list[dict[str, Any]] | None

# Rows that are looked at. Whoever deploys waits for the gate, so shorter prompts are preferred.
LOOKED_AT, SHORT = 64, 512


class Trained(Protocol):
    """What of `TunedModel` is needed."""

    def likeliest(self, token_ids: Sequence[int], start: int) -> tuple[list[int], list[float]]: ...


def write_replay(
    folder: Path,
    model: Trained,
    samples: Samples,
    path: Path,
    checkpoint_dir: Path,
    parameters: FineTuneParameters,
    *,
    context: int,
) -> Path:
    """Write `folder/parity.json`; returns its path.

    Args:
        model: the tuned one, as it was put out.
        samples: what training made of the rows of `path`.
        context: tokens that the model takes.
    """
    tokenizer = ChatTokenizer.load(checkpoint_dir)
    seen = conversations(samples, path, tokenizer, context=context)
    found = [each.model_copy(update=_greedy(each, model)) for each in seen]
    replay = Replay(
        precision=parameters.precision,
        end_token_ids=list(tokenizer.end_token_ids),
        day=date.today().isoformat(),
        conversations=found,
    )
    write_json(folder / REPLAY_FILE, replay.model_dump(mode="json", exclude_none=True))
    return folder / REPLAY_FILE


def conversations(
    samples: Samples, path: Path, tokenizer: ChatTokenizer, *, context: int
) -> list[ReplayConversation]:
    """The first conversations of `path` that training saw whole, those with short prompts first.

    One that was shortened to fit is left out: its messages no longer tell what was learnt.
    """
    seen = {tuple(each.token_ids): each for each in islice(samples, 2 * LOOKED_AT)}
    whole = [
        kept
        for messages, tools in _parts(path, tokenizer)
        if (kept := _matched(messages, tools, tokenizer, seen)) and kept.prompt_tokens < context
    ]
    whole.sort(key=lambda each: each.prompt_tokens > SHORT)  # stable: else in the file's order
    return whole[:CONVERSATIONS]


def _parts(path: Path, tokenizer: ChatTokenizer) -> Iterator[tuple[Sequence[ChatMessage], Tools]]:
    """What training learns from at once, of the first rows."""
    for row in islice(iter_messages(path), LOOKED_AT):
        if isinstance(row, RefusedRow):
            continue
        tools = row.get("tools")
        try:
            parts = tokenizer.parts(row["messages"], tools)
        except InvalidInput:
            continue  # training left it out, too
        yield from ((part, tools) for part in parts)


def _matched(
    messages: Sequence[ChatMessage],
    tools: Tools,
    tokenizer: ChatTokenizer,
    seen: dict[tuple[int, ...], Sample],
) -> ReplayConversation | None:
    """The conversation with the ids and the mask that training used, or None."""
    try:
        ids = tokenizer.render_example(messages, tools).token_ids
    except InvalidInput:
        return None
    sample = seen.get(tuple(ids))
    if sample is None:
        return None
    learnt = [
        place
        for place, message in enumerate(messages)
        if place and message["role"] == "assistant" and message.get("weight", 1)
    ]
    start = last_answer(sample)
    if not learnt or not start:
        return None
    return ReplayConversation(
        messages=[cast("dict[str, Any]", dict(each)) for each in messages[: learnt[-1]]],
        tools=tools,
        token_ids=list(sample.token_ids),
        loss_mask="".join("01"[learn] for learn in sample.supervised),
        prompt_tokens=start,
        greedy_ids=[],
        margins=[],
    )


def last_answer(sample: Sample) -> int:
    """Where the last stretch of learnt tokens begins; 0 where there is none."""
    end = len(sample.supervised)
    while end and not sample.supervised[end - 1]:
        end -= 1
    while end and sample.supervised[end - 1]:
        end -= 1
    return end


def _greedy(conversation: ReplayConversation, model: Trained) -> dict[str, list[Any]]:
    """What the model says at each place of the answer that was learnt last."""
    start = conversation.prompt_tokens
    learnt = conversation.loss_mask.find("0", start)
    end = len(conversation.token_ids) if learnt < 0 else learnt
    end = min(end, start + JUDGED_TOKENS)
    ids, margins = model.likeliest(conversation.token_ids[:end], start)
    return {"greedy_ids": ids, "margins": [round(margin, 4) for margin in margins]}
