"""An engine without a model, for tests of everything around one: it echoes the prompt.

Options (`spec.options`):

    say           answer with this text instead
    delay_ms      wait before each token (0)
    fail_after    raise when asked for more than this many tokens (never)
    hang_after    wait for ever when asked for more than this many tokens (never)
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from phoundry.errors import InvalidInput, ModelError
from phoundry.serving.engines.base import (
    Delta,
    EngineSpec,
    Feature,
    SamplingParams,
    TokenLogprob,
)

_WIDTH = 16  # numbers of an embedding


class FakeEngine:
    """Answers with the prompt's own tokens, one at a time, up to `max_tokens`.

    An end token of the prompt is left out, so a conversation is echoed as its text. Every token is
    certain. An embedding counts the tokens, by the rest of their ids. Of a JSON schema nothing is
    kept: `say` says what is to be said.
    """

    features: frozenset[Feature] = frozenset({"logprobs", "json_schema", "embeddings"})

    def __init__(self, spec: EngineSpec) -> None:
        if spec.tokenizer_dir is None:
            raise InvalidInput("The engine fake needs tokenizer_dir.")
        self.context_length = spec.context_length
        self.slots = spec.slots
        self._end = spec.end_token_ids
        self._delay = float(spec.options.get("delay_ms", 0)) / 1000
        self._fail_after = spec.options.get("fail_after")
        self._hang_after = spec.options.get("hang_after")
        self._tokenizer = Tokenizer.from_file(str(spec.tokenizer_dir / "tokenizer.json"))
        say = spec.options.get("say")
        self._say: list[int] | None = None if say is None else self._tokenizer.encode(say).ids
        self._running = asyncio.Semaphore(spec.slots)

    async def generate(
        self, prompt_ids: list[int], params: SamplingParams
    ) -> AsyncGenerator[Delta, None]:
        async with self._running:
            decoder = DecodeStream(skip_special_tokens=True)
            said = prompt_ids if self._say is None else self._say
            echo = [token for token in said if token not in self._end]
            for index in range(min(params.max_tokens, len(echo))):
                if index == self._fail_after:
                    raise ModelError("The fake engine fails, as it was told to.")
                if index == self._hang_after:
                    await asyncio.Event().wait()
                if self._delay:
                    await asyncio.sleep(self._delay)
                text = decoder.step(self._tokenizer, echo[index]) or ""
                yield Delta(
                    text, index + 1, (echo[index],), None, _certain(echo[index], text, params)
                )
            reason = "stop" if params.max_tokens >= len(echo) else "length"
            yield Delta("", min(params.max_tokens, len(echo)), (), reason)

    async def embed(self, prompt_ids: list[int]) -> list[float]:
        counts = [0.0] * _WIDTH
        for token in prompt_ids:
            counts[token % _WIDTH] += 1
        length = math.hypot(*counts)
        return [count / length for count in counts]

    async def check(self) -> None:
        return None

    async def close(self) -> None:
        return None


def _certain(token: int, text: str, params: SamplingParams) -> tuple[TokenLogprob, ...]:
    if params.top_logprobs is None:
        return ()
    chosen = TokenLogprob(token, text, text.encode(), 0.0)
    top = (chosen,) * min(1, params.top_logprobs)
    return (TokenLogprob(token, text, text.encode(), 0.0, top),)
