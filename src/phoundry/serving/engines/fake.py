"""An engine without a model, for tests of everything around one: it echoes the prompt.

Options (`spec.options`):

    delay_ms      wait before each token (0)
    fail_after    raise when asked for more than this many tokens (never)
    hang_after    wait for ever when asked for more than this many tokens (never)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from phoundry.errors import InvalidInput, ModelError
from phoundry.serving.engines.base import Delta, EngineSpec, Feature, SamplingParams


class FakeEngine:
    """Answers with the prompt's own tokens, one at a time, up to `max_tokens`.

    An end token of the prompt is left out, so a conversation is echoed as its text.
    """

    features: frozenset[Feature] = frozenset()

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
        self._running = asyncio.Semaphore(spec.slots)

    async def generate(
        self, prompt_ids: list[int], params: SamplingParams
    ) -> AsyncGenerator[Delta, None]:
        async with self._running:
            decoder = DecodeStream(skip_special_tokens=True)
            echo = [token for token in prompt_ids if token not in self._end]
            for index in range(min(params.max_tokens, len(echo))):
                if index == self._fail_after:
                    raise ModelError("The fake engine fails, as it was told to.")
                if index == self._hang_after:
                    await asyncio.Event().wait()
                if self._delay:
                    await asyncio.sleep(self._delay)
                text = decoder.step(self._tokenizer, echo[index]) or ""
                yield Delta(text, index + 1, (echo[index],))
            reason = "stop" if params.max_tokens >= len(echo) else "length"
            yield Delta("", min(params.max_tokens, len(echo)), (), reason)

    async def embed(self, prompt_ids: list[int]) -> list[float]:
        raise ModelError("This engine makes no embeddings.")

    async def close(self) -> None:
        return None
