"""From a conversation to a stream of text: render, check, generate, stop.

What is here holds for every engine and for every dialect.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from phoundry.data import ChatMessage, ChatTokenizer
from phoundry.errors import InvalidInput
from phoundry.serving.engines.base import (
    Delta,
    Engine,
    FinishReason,
    SamplingParams,
    TokenLogprob,
)
from phoundry.serving.errors import bad_parameter
from phoundry.serving.replica.stops import StopStrings


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, whatever its dialect. `max_tokens` None: as many as the context holds.

    `max_tokens_name` is what the dialect calls that parameter. `prompt_ids` are asked as they are,
    instead of `messages`. `opening` is put before the answer, as if the model had begun so.
    """

    messages: Sequence[ChatMessage]
    sampling: SamplingParams
    max_tokens: int | None
    max_tokens_name: str = "max_tokens"
    stop: tuple[str, ...] = ()
    tools: Sequence[Mapping[str, Any]] = ()
    prompt_ids: Sequence[int] | None = None
    opening: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the answer; `tokens` generated so far; a `finish_reason` on the last one."""

    text: str
    tokens: int
    finish_reason: FinishReason | None = None
    logprobs: tuple[TokenLogprob, ...] = ()


class Generator:
    """One engine with the renderer of its model."""

    def __init__(self, engine: Engine, tokenizer: ChatTokenizer) -> None:
        self.engine = engine
        self.tokenizer = tokenizer

    def prepare(self, ask: Ask) -> Prepared:
        """Render and bound the request.

        Raises:
            InvalidInput: the conversation does not fit the context, more tokens are asked for than
                it has, or something that the engine cannot do.
        """
        self._check_features(ask.sampling)
        prompt_ids = self._prompt(ask)
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
        params = replace(ask.sampling, max_tokens=bound, stop=ask.stop)
        return Prepared(self.engine, prompt_ids, params, ask.stop)

    def _prompt(self, ask: Ask) -> list[int]:
        if ask.prompt_ids is not None:
            highest = self.tokenizer.highest_id
            if max(ask.prompt_ids) > highest:
                raise bad_parameter(
                    "prompt",
                    f"has the token id {max(ask.prompt_ids):,}; the highest is {highest:,}.",
                )
            return list(ask.prompt_ids)
        ids = self.tokenizer.render_prompt(ask.messages, ask.tools or None)
        return ids + self.tokenizer.encode(ask.opening) if ask.opening else ids

    def _check_features(self, params: SamplingParams) -> None:
        features = self.engine.features
        if params.top_logprobs is not None and "logprobs" not in features:
            raise bad_parameter("logprobs", "is not given by the engine of this deployment.")
        if params.json_schema is not None and "json_schema" not in features:
            raise bad_parameter(
                "response_format",
                "asks for JSON, to which the engine of this deployment cannot be held.",
            )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that can run."""

    engine: Engine
    prompt_ids: list[int]
    params: SamplingParams
    stop: tuple[str, ...] = ()

    async def run(self) -> AsyncGenerator[Piece, None]:
        """The answer. Closing it early frees the engine's slot.

        The likelihoods of a token come with the first of its text, and not at all where a stop
        string takes the text away.

        Raises:
            ModelError: the engine failed.
        """
        stops = StopStrings(self.stop)
        told = _Told()
        async with aclosing(self.engine.generate(self.prompt_ids, self.params)) as deltas:
            async for delta in deltas:
                text = stops.feed(delta.text)
                told.feed(delta)
                if stops.stopped:
                    yield Piece(text, delta.tokens, "stop", told.said(text))
                    return
                if delta.finish_reason:
                    text += stops.rest()
                    yield Piece(text, delta.tokens, delta.finish_reason, told.rest())
                    return
                if text:
                    yield Piece(text, delta.tokens, None, told.said(text))

    async def whole(self) -> Piece:
        """The answer in one piece."""
        # Token by token where likelihoods are told: a stop string then takes whole tokens away.
        alone = self.params.top_logprobs is None
        asked = replace(self, params=replace(self.params, whole=True)) if alone else self
        texts: list[str] = []
        told: list[TokenLogprob] = []
        last = Piece("", 0, "length")
        async with aclosing(asked.run()) as pieces:
            async for last in pieces:
                texts.append(last.text)
                told += last.logprobs
        return replace(last, text="".join(texts), logprobs=tuple(told))


class _Told:
    """Likelihoods that wait for the text of their token."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, TokenLogprob]] = []  # where the token's text begins
        self._fed = self._said = 0  # characters

    def feed(self, delta: Delta) -> None:
        at = self._fed
        self._fed += len(delta.text)
        for token in delta.logprobs:
            self._waiting.append((at, token))
            at += len(token.text)

    def said(self, text: str) -> tuple[TokenLogprob, ...]:
        """The tokens that begin in what has been said, with `text`, and were not given before."""
        self._said += len(text)
        if not self._waiting:
            return ()
        said = [token for at, token in self._waiting if at < self._said]
        del self._waiting[: len(said)]
        return tuple(said)

    def rest(self) -> tuple[TokenLogprob, ...]:
        return tuple(token for _, token in self._waiting)
