"""The door for this machine's own processes: token ids in, token ids out.

POST /internal/render    {"messages", "tools"?}                      → {"prompt_ids"}
POST /internal/generate  {"prompt_ids", "max_tokens", "top_logprobs"?}
                         → {"token_ids", "text", "finish_reason", "logprobs"}

`logprobs` stand beside `token_ids`, one for each: `{"token_id", "logprob", "top": [{"token_id",
"logprob"}, …]}`, or null for a token of which the engine tells nothing (llama.cpp: of a character's
first bytes). Without `top_logprobs` they are null altogether. The answer is greedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from phoundry.errors import ModelError
from phoundry.serving.asgi import Send, reply_json
from phoundry.serving.engines.base import Delta, SamplingParams, TokenLogprob
from phoundry.serving.replica.generation import Ask
from phoundry.serving.replica.metrics import Passage
from phoundry.serving.replica.model import ServedModel
from phoundry.serving.replica.parameters import Parameters
from phoundry.serving.replica.tools import read_tools

TOP = 100  # likelihoods beside a token


async def render(model: ServedModel, body: dict[str, Any], send: Send, passage: Passage) -> None:
    """The prompt of a conversation, as every dialect renders it, without the defaults."""
    parameters = Parameters(body)
    parameters.refuse_unknown(frozenset({"messages", "tools"}))
    tools = read_tools(parameters.sequence("tools"))
    ids = model.generator.tokenizer.render_prompt(parameters.messages(), tools or None)
    await reply_json(send, 200, {"prompt_ids": ids})


async def generate(model: ServedModel, body: dict[str, Any], send: Send, passage: Passage) -> None:
    """The greedy answer to a prompt, token by token."""
    parameters = Parameters(body)
    parameters.refuse_unknown(frozenset({"prompt_ids", "max_tokens", "top_logprobs"}))
    top = parameters.integer("top_logprobs", 0, TOP)
    ask = Ask(
        messages=(),
        prompt_ids=parameters.token_ids("prompt_ids"),
        sampling=SamplingParams(max_tokens=0, top_logprobs=top, exact_ids=True),
        max_tokens=parameters.integer("max_tokens", 1, 2**31),
    )
    prepared = model.generator.prepare(ask)
    ids: list[int] = []
    told: list[TokenLogprob] = []
    text = ""
    last: Delta | None = None
    async with aclosing(prepared.engine.generate(prepared.prompt_ids, prepared.params)) as deltas:
        async for last in deltas:
            ids += last.token_ids
            told += last.logprobs
            text += last.text
    if last is None or last.finish_reason is None:
        raise ModelError("The engine ended its answer without a reason.")
    passage.prompt_tokens, passage.completion_tokens = len(prepared.prompt_ids), len(ids)
    answer = {
        "token_ids": ids,
        "text": text,
        "finish_reason": last.finish_reason,
        "logprobs": None if top is None else _beside(ids, told),
    }
    await reply_json(send, 200, answer)


def _beside(ids: Sequence[int], told: Sequence[TokenLogprob]) -> list[dict[str, Any] | None]:
    """For each id what is told of it; `told` is in order and may lack some.

    Where an id that lacks one is followed by the same id, the first of them gets it: there is no
    telling them apart.
    """
    found: list[dict[str, Any] | None] = []
    at = 0
    for token in ids:
        if at < len(told) and told[at].token_id == token:
            top = [{"token_id": t.token_id, "logprob": t.logprob} for t in told[at].top]
            found.append({"token_id": token, "logprob": told[at].logprob, "top": top})
            at += 1
        else:
            found.append(None)
    return found
