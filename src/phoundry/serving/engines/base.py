"""What an engine is: token ids in, a stream of deltas out.

Everything around it (rendering the conversation, stop strings, limits, the wire formats) is the
replica's, so that it is the same for every engine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

FinishReason = Literal["stop", "length"]
# What not every engine can do: the replica refuses by name what its engine has not.
Feature = Literal["logprobs", "json_schema", "embeddings"]


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to choose tokens. Values are in range: the replica has checked them.

    The order is Hugging Face's: penalties, temperature, top-k, top-p. `temperature` 0 is greedy
    and then `top_k`, `top_p` and `seed` have no effect. `top_k` 0 keeps all tokens. The penalties
    are OpenAI's: a token that occurred c > 0 times (prompt included) loses
    `presence_penalty + c * frequency_penalty` from its logit.

    `top_logprobs`: how many of the likeliest tokens to tell beside each chosen one (0: the chosen
    one alone); None: nothing of likelihoods. `json_schema`: the answer must be JSON of this schema,
    which the caller has given in `schema_parameter`.

    `exact_ids`: `token_ids` must lack none; leaving early may then free the slot late. The rest are
    hints, which an engine may use and the replica does not rely on. `whole`: the caller waits for
    the whole answer, so that one delta is enough. `stop`: nothing after the first of these texts is
    wanted. `shown`: control tokens whose text belongs to the answer (those that begin and end a
    tool call).
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    top_logprobs: int | None = None
    json_schema: Mapping[str, Any] | None = None
    schema_parameter: str = "response_format"
    exact_ids: bool = False
    whole: bool = False
    stop: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token, and the natural logarithm of its probability among all tokens.

    `text`: what the token adds; a part of a character stands in it as in `data`, not as text.
    """

    token_id: int
    text: str
    data: bytes
    logprob: float
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer.

    `text` never holds a part of a character nor an end token. `token_ids` may lack the ids of a
    character's first bytes, unless exact ids were asked for. `tokens` is how many tokens have
    been generated so far, the end token not counted. Only the last delta has a `finish_reason`:
    "stop" after an end token, "length" when `max_tokens` or the context is used up.
    """

    text: str
    tokens: int
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What an engine is opened with. `options` are the engine's own.

    `weights`, `sha256`: the names of a checkpoint's weight files, and the SHA-256 that their bytes,
    one file after the other, had when they were recorded; None where that is not known.
    `adapters`: LoRA adapters as GGUF, for the engine that serves several models on one base.
    """

    context_length: int
    slots: int
    threads: int
    end_token_ids: frozenset[int]
    gguf_path: Path | None = None
    checkpoint_dir: Path | None = None
    tokenizer_dir: Path | None = None
    weights: tuple[str, ...] = ()
    sha256: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    adapters: tuple[Path, ...] = ()


class Engine(Protocol):
    """One loaded model.

    `features`: what it can do besides generating. `context_length`: tokens of prompt and answer
    together, for each request. `slots`: how many requests are decoded in one batch; more of them
    wait inside the engine.
    """

    context_length: int
    slots: int
    features: frozenset[Feature]

    def generate(
        self, prompt_ids: list[int], params: SamplingParams
    ) -> AsyncGenerator[Delta, None]:
        """Generate after `prompt_ids`. Closing the generator early frees the slot.

        Raises:
            ModelError: the engine failed.
        """
        ...

    async def embed(self, prompt_ids: list[int]) -> list[float]:
        """The embedding of a text, of length 1. Called only where `features` has "embeddings".

        Raises:
            ModelError: the engine failed.
        """
        ...

    async def check(self) -> None:
        """Return once the engine's own thread has answered; a busy one may take a while.

        Raises:
            ModelError: it will answer nothing any more.
        """
        ...

    async def close(self) -> None:
        """Free memory and threads. The engine answers nothing after it."""
        ...
