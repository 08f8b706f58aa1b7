"""From a conversation to a stream of text: render, check, generate, stop.

What is here holds for every engine and for every dialect.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from phoundry.data import ChatMessage, ChatTokenizer
from phoundry.errors import InvalidInput
from phoundry.serving.engines.base import Engine, FinishReason, SamplingParams
from phoundry.serving.errors import bad_parameter
from phoundry.serving.replica.stops import StopStrings


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, whatever its dialect. `max_tokens` None: as many as the context holds.

    `max_tokens_name` is what the dialect calls that parameter.
    """

    messages: list[ChatMessage]
    sampling: SamplingParams
    max_tokens: int | None
    max_tokens_name: str = "max_tokens"
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the answer; `tokens` generated so far; a `finish_reason` on the last one."""

    text: str
    tokens: int
    finish_reason: FinishReason | None = None


class Generator:
    """One engine with the renderer of its model."""

    def __init__(self, engine: Engine, tokenizer: ChatTokenizer) -> None:
        self.engine = engine
        self.tokenizer = tokenizer

    def prepare(self, ask: Ask) -> Prepared:
        """Render and bound the request.

        Raises:
            InvalidInput: the conversation does not fit the context, or more tokens are asked for
                than it has.
        """
        prompt_ids = self.tokenizer.render_prompt(ask.messages)
        context = self.engine.context_length
        if len(prompt_ids) >= context:
            raise InvalidInput(
                f"The conversation has {len(prompt_ids):,} tokens; the context of this deployment "
                f"is {context:,} tokens, the answer included.",
                remedy="Shorten it, or deploy with a larger context_length.",
            )
        if ask.max_tokens is not None and ask.max_tokens > context:
            raise bad_parameter(
                ask.max_tokens_name,
                f"is {ask.max_tokens:,}; the context of this deployment is {context:,} tokens.",
            )
        room = context - len(prompt_ids)
        bound = room if ask.max_tokens is None else min(room, ask.max_tokens)
        return Prepared(self.engine, prompt_ids, replace(ask.sampling, max_tokens=bound), ask.stop)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that can run."""

    engine: Engine
    prompt_ids: list[int]
    params: SamplingParams
    stop: tuple[str, ...]

    async def run(self) -> AsyncGenerator[Piece, None]:
        """The answer. Closing it early frees the engine's slot.

        Raises:
            ModelError: the engine failed.
        """
        stops = StopStrings(self.stop)
        async with aclosing(self.engine.generate(self.prompt_ids, self.params)) as deltas:
            async for delta in deltas:
                text = stops.feed(delta.text)
                if stops.stopped:
                    yield Piece(text, delta.tokens, "stop")
                    return
                if delta.finish_reason:
                    yield Piece(text + stops.rest(), delta.tokens, delta.finish_reason)
                    return
                if text:
                    yield Piece(text, delta.tokens)

    async def whole(self) -> Piece:
        """The answer in one piece."""
        texts: list[str] = []
        last = Piece("", 0, "length")
        async with aclosing(self.run()) as pieces:
            async for last in pieces:
                texts.append(last.text)
        return replace(last, text="".join(texts))
