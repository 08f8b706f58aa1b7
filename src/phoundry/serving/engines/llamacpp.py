"""llama.cpp through xllamacpp: its server, inside this process.

xllamacpp's `Server` runs llama.cpp's scheduler (continuous batching over `slots`) on C++ threads
and listens on a loopback port of its own. We speak HTTP to that port rather than use its callbacks:
a callback holds one Python thread for each request and takes the GIL for each token, and it cannot
cancel while a prompt is being read; a closed connection can. The port is guarded by a random key.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp

from phoundry.errors import InvalidInput, MissingDependency, ModelError
from phoundry.serving.engines.base import Delta, EngineSpec, Feature, FinishReason, SamplingParams

# llama.cpp's levels: 0 output, 1 errors, 2 warnings, 3 information.
_ERRORS_ONLY = 1


class LlamaCppEngine:
    """A GGUF file in llama.cpp. Memory: the file + slots * context_length * bytes of KV a token."""

    features: frozenset[Feature] = frozenset()

    def __init__(self, spec: EngineSpec) -> None:
        if spec.gguf_path is None:
            raise InvalidInput("The engine llama.cpp needs gguf_path.")
        if not spec.gguf_path.is_file():
            raise ModelError(f"There is no model file {spec.gguf_path}.")
        self.context_length = spec.context_length
        self.slots = spec.slots
        self._end = spec.end_token_ids
        self._key = secrets.token_urlsafe(32)
        self._session: aiohttp.ClientSession | None = None
        library = _library()
        try:
            self._server: Any = library.Server(_parameters(library, spec, self._key))
        except RuntimeError as error:
            raise ModelError(
                f"llama.cpp cannot load {spec.gguf_path.name}: {error}",
                remedy="The log of this replica has llama.cpp's reason.",
            ) from None
        self._url = f"{self._server.listening_address}/completion"

    async def generate(
        self, prompt_ids: list[int], params: SamplingParams
    ) -> AsyncGenerator[Delta, None]:
        session = self._client()
        tokens = 0
        try:
            async with session.post(self._url, json=_request(prompt_ids, params)) as response:
                if response.status != 200:
                    raise ModelError(f"llama.cpp refused: {_reason(await response.read())}")
                async for line in response.content:
                    if not line.startswith((b"data: ", b"error: ")):
                        continue
                    event: dict[str, Any] = json.loads(line[line.index(b" ") :])
                    if "error" in event or line.startswith(b"error"):
                        raise ModelError(f"llama.cpp failed: {_reason(json.dumps(event))}")
                    delta = self._delta(event, tokens)
                    tokens = delta.tokens
                    yield delta
                    if delta.finish_reason:
                        return
        except (aiohttp.ClientError, ConnectionError) as error:
            raise ModelError(f"llama.cpp stopped answering: {error}") from None
        raise ModelError("llama.cpp ended its answer without a reason.")

    async def embed(self, prompt_ids: list[int]) -> list[float]:
        raise ModelError("This engine makes no embeddings.")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        self._server = None  # its destructor stops the threads and frees the model

    def _delta(self, event: dict[str, Any], before: int) -> Delta:
        if event.get("stop"):
            reason: FinishReason = "length" if event["stop_type"] == "limit" else "stop"
            # At an end token llama.cpp has counted that token too.
            count = int(event["tokens_predicted"]) - (1 if reason == "stop" else 0)
            return Delta("", max(before, count), (), reason)
        ids = tuple(int(token) for token in event["tokens"])
        if ids and ids[-1] in self._end:
            # An end token of the tokenizer that the GGUF does not know as one.
            return Delta("", int(event["tokens_predicted"]) - 1, (), "stop")
        return Delta(str(event["content"]), int(event["tokens_predicted"]), ids)

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # llama.cpp's listener hangs up after a stream without saying so beforehand.
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(total=None),
                headers={"Authorization": f"Bearer {self._key}"},
                trust_env=False,
            )
        return self._session


def _library() -> Any:
    """xllamacpp, a compiled module without types.

    Its threads meet many times a token, and by default they spin while they wait. On a machine that
    is busy (a second replica, a training job) each then burns the time that the other needs: two
    threads on two busy cores were measured at 3 tokens/s spinning and 56 waiting passively. OpenMP
    reads this once, when the library is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ModuleNotFoundError:
        raise MissingDependency.extra("xllamacpp", "serve", "The engine llama.cpp") from None  # noqa: S610
    return xllamacpp


def _parameters(library: Any, spec: EngineSpec, key: str) -> Any:
    p: Any = library.CommonParams()
    p.model.path = str(spec.gguf_path)
    p.n_parallel = spec.slots
    p.n_ctx = spec.context_length * spec.slots  # llama.cpp divides it among the slots
    p.cpuparams.n_threads = spec.threads
    p.cpuparams_batch.n_threads = spec.threads
    # A thread holds each open stream; requests beyond the slots wait in llama.cpp's queue.
    p.n_threads_http = 2 * spec.slots + 4
    p.hostnames = ["127.0.0.1"]
    p.port = 0
    p.api_keys = [key]
    p.ui = False
    p.endpoint_slots = False
    p.cache_ram_mib = 0  # its default keeps up to 8 GiB of old prompts
    p.fit_params = False  # the context is what was asked for, or loading fails
    p.warmup = False  # the replica's first generation is the warm-up
    p.verbosity = _ERRORS_ONLY
    return p


def _request(prompt_ids: list[int], params: SamplingParams) -> dict[str, Any]:
    return {
        "prompt": prompt_ids,
        "stream": True,
        "return_tokens": True,
        "n_predict": params.max_tokens,
        "temperature": params.temperature,
        "top_k": params.top_k,
        "top_p": params.top_p,
        "min_p": 0.0,
        "seed": -1 if params.seed is None else params.seed % (2**32 - 1),
        "presence_penalty": params.presence_penalty,
        "frequency_penalty": params.frequency_penalty,
        "repeat_penalty": 1.0,
        "repeat_last_n": len(prompt_ids) + params.max_tokens,  # all of them
        "samplers": ["penalties", "temperature", "top_k", "top_p"],
        # The last event would otherwise carry the whole prompt back.
        "response_fields": ["stop", "stop_type", "tokens_predicted"],
    }


def _reason(body: bytes | str) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return str(body[:200])
