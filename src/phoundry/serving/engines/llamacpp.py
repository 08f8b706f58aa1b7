"""llama.cpp through xllamacpp: its server, inside this process.

xllamacpp's `Server` runs llama.cpp's scheduler (continuous batching over `slots`) on C++ threads
and listens on a loopback port of its own. We speak HTTP to that port rather than use its callbacks:
a callback holds one Python thread for each request and takes the GIL for each token, and it cannot
cancel while a prompt is being read; a closed connection can. The port is guarded by a random key.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from phoundry.errors import InvalidInput, MissingDependency, ModelError
from phoundry.serving.engines.base import (
    Delta,
    EngineSpec,
    Feature,
    FinishReason,
    SamplingParams,
    TokenLogprob,
)
from phoundry.serving.engines.llamacpp_wire import Listener
from phoundry.serving.errors import bad_parameter

# llama.cpp's levels: 0 output, 1 errors, 2 warnings, 3 information.
_ERRORS_ONLY = 1
_SCHEMAS = 256  # remembered
_CERTAIN = 1e9  # added to a logit: this token and no other
_LAST = ["stop", "stop_type", "tokens_predicted", "completion_probabilities"]
_WHOLE = [*_LAST, "content", "tokens"]


class LlamaCppEngine:
    """A GGUF file in llama.cpp. Memory: the file + slots * context_length * bytes of KV a token."""

    features: frozenset[Feature] = frozenset({"logprobs", "json_schema", "embeddings"})

    def __init__(self, spec: EngineSpec) -> None:
        if spec.gguf_path is None:
            raise InvalidInput("The engine llama.cpp needs gguf_path.")
        if not spec.gguf_path.is_file():
            raise ModelError(f"There is no model file {spec.gguf_path}.")
        self.context_length = spec.context_length
        self.slots = spec.slots
        self._end = spec.end_token_ids
        self._strange_ends: bool | None = None
        self._kept: OrderedDict[bytes, bool] = (
            OrderedDict()
        )  # by schema: whether answers keep to them
        key = secrets.token_urlsafe(32)
        library = _library()
        try:
            self._server: Any = library.Server(_parameters(library, spec, key))
        except RuntimeError as error:
            raise ModelError(
                f"llama.cpp cannot load {spec.gguf_path.name}: {error}",
                remedy="The log of this replica has llama.cpp's reason.",
            ) from None
        self._listener = Listener(self._server.listening_address, key)

    async def generate(
        self, prompt_ids: list[int], params: SamplingParams
    ) -> AsyncGenerator[Delta, None]:
        if params.json_schema is not None:
            await self._check_schema(params.json_schema, params.schema_parameter)
        strange = (params.whole or params.exact_ids) and await self._has_strange_ends()
        # Not streamed, llama.cpp tells every id; but then it looks for a caller that has left only
        # when nobody gets a token for a second.
        exact = params.exact_ids and not strange
        request = _request(prompt_ids, params, stream=not exact)
        # Where a stop string may end the answer early, it is read as it comes.
        lazy = params.whole and not strange and not params.stop
        answer = await self._listener.post("/completion", request, lazy=lazy)
        tokens, top = 0, params.top_logprobs
        try:
            if exact:
                yield self._answer(json.loads(await answer.whole()), top)
                return
            while events := await answer.events():
                delta = self._joined(events, tokens, top)
                tokens = delta.tokens
                yield delta
                if delta.finish_reason:
                    return
        finally:
            answer.close()
        raise ModelError("llama.cpp ended its answer without a reason.")

    async def embed(self, prompt_ids: list[int]) -> list[float]:
        answer = await self._listener.post("/embedding", {"content": prompt_ids})
        try:
            vector: list[float] = json.loads(await answer.whole())[0]["embedding"][0]
        finally:
            answer.close()
        return vector

    async def check(self) -> None:
        await self._listener.get("/metrics")  # answered between two batches by the thread of both

    async def close(self) -> None:
        self._server = None  # its destructor stops the threads and frees the model

    async def _has_strange_ends(self) -> bool:
        """Whether the tokenizer has an end token that the GGUF does not know as one.

        Then answers are read token by token, to end there. It is found out by making each of them
        the only likely token after nothing much.
        """
        if self._strange_ends is None:
            known = [await self._is_known_end(token) for token in self._end]
            self._strange_ends = not all(known)
        return self._strange_ends

    async def _is_known_end(self, token: int) -> bool:
        return await self._ends_at(token, SamplingParams(max_tokens=1))

    async def _check_schema(self, schema: Mapping[str, Any], name: str) -> None:
        """Raise InvalidInput where llama.cpp would pass over the schema: it then says so in its log
        and answers with any text. No JSON is empty, so a schema in force forbids an end token."""
        key = hashlib.sha256(json.dumps(schema).encode()).digest()  # a schema may have megabytes
        if key not in self._kept and self._end:
            params = SamplingParams(max_tokens=1, json_schema=schema)
            self._kept[key] = not await self._ends_at(min(self._end), params)
            if len(self._kept) > _SCHEMAS:
                self._kept.popitem(last=False)
        if not self._kept.get(key, True):
            raise bad_parameter(
                name,
                "has a JSON schema that answers cannot be held to: it contradicts itself, refers "
                "to what is not there, or has a pattern beyond regular expressions.",
            )

    async def _ends_at(self, token: int, params: SamplingParams) -> bool:
        """Whether an answer ends at once if `token` is the only likely one."""
        request = _request([token], params, stream=False)
        request["logit_bias"] = [[token, _CERTAIN]]
        answer = await self._listener.post("/completion", request)
        try:
            return json.loads(await answer.whole())["stop_type"] == "eos"
        finally:
            answer.close()

    def _answer(self, event: dict[str, Any], top: int | None) -> Delta:
        """The whole answer, from the only event that there is."""
        ids = tuple(int(token) for token in event["tokens"])
        if event["stop_type"] == "eos":
            ids = ids[:-1]
        reason: FinishReason = "length" if event["stop_type"] == "limit" else "stop"
        # Half a character at its end, which a stream never shows, is written as this one.
        text = str(event["content"]).rstrip("\ufffd")
        return Delta(text, len(ids), ids, reason, self._likelihoods(event, top))

    def _joined(self, events: list[dict[str, Any]], before: int, top: int | None) -> Delta:
        """What has come since the last delta, as one."""
        if len(events) == 1:
            return self._delta(events[0], before, top)
        deltas: list[Delta] = []
        for event in events:
            deltas.append(self._delta(event, before, top))
            before = deltas[-1].tokens
            if deltas[-1].finish_reason:
                break
        return Delta(
            "".join(delta.text for delta in deltas),
            before,
            tuple(token for delta in deltas for token in delta.token_ids),
            deltas[-1].finish_reason,
            tuple(token for delta in deltas for token in delta.logprobs),
        )

    def _delta(self, event: dict[str, Any], before: int, top: int | None) -> Delta:
        if event.get("stop"):
            reason: FinishReason = "length" if event["stop_type"] == "limit" else "stop"
            # At an end token llama.cpp has counted that token too.
            ended = event["stop_type"] == "eos"
            count = int(event["tokens_predicted"]) - (1 if ended else 0)
            return Delta("", max(before, count), (), reason)
        ids = tuple(event["tokens"])
        if ids and ids[-1] in self._end:
            # An end token of the tokenizer that the GGUF does not know as one; or one that it
            # knows, whose own event comes before the last.
            return Delta("", int(event["tokens_predicted"]) - 1, (), "stop")
        told = self._likelihoods(event, top)
        return Delta(event["content"], event["tokens_predicted"], ids, None, told)

    def _likelihoods(self, event: dict[str, Any], top: int | None) -> tuple[TokenLogprob, ...]:
        """What llama.cpp tells of the tokens: nothing of a character's first bytes."""
        if top is None:
            return ()
        told = event.get("completion_probabilities") or ()
        return tuple(_likelihood(token, top) for token in told if token["id"] not in self._end)


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
    # Embeddings beside answers: of the last token, as it has seen all others.
    p.embedding = True
    p.pooling_type = library.llama_pooling_type.LLAMA_POOLING_TYPE_LAST
    p.endpoint_slots = False
    p.endpoint_metrics = True  # a page that the engine's own thread must answer
    p.cache_ram_mib = 0  # its default keeps up to 8 GiB of old prompts
    p.fit_params = False  # the context is what was asked for, or loading fails
    p.warmup = False  # the replica's first generation is the warm-up
    p.verbosity = _ERRORS_ONLY
    return p


def _request(prompt_ids: list[int], params: SamplingParams, *, stream: bool) -> dict[str, Any]:
    request: dict[str, Any] = {
        "prompt": prompt_ids,
        "stream": stream,
        "return_tokens": True,
        "n_predict": params.max_tokens,
        "seed": -1 if params.seed is None else params.seed % (2**32 - 1),
        # The last event would otherwise carry the whole prompt back.
        "response_fields": _LAST if stream else _WHOLE,
        **_sampling(prompt_ids, params),
    }
    if params.top_logprobs is not None:
        request["n_probs"] = max(1, params.top_logprobs)  # 0 would be none at all
    if params.json_schema is not None:
        request["json_schema"] = params.json_schema
    if params.shown:
        request["preserved_tokens"] = params.shown
    return request


def _sampling(prompt_ids: list[int], params: SamplingParams) -> dict[str, Any]:
    """Greedy is the one best token: any other sampler would weigh the whole vocabulary for it."""
    chosen: dict[str, Any] = {"repeat_last_n": 0, "repeat_penalty": 1.0, "min_p": 0.0}
    if params.temperature:
        order = ["temperature", "top_k", "top_p"]
        chosen |= {"temperature": params.temperature, "top_k": params.top_k, "top_p": params.top_p}
    else:
        order = ["top_k"]
        chosen |= {"temperature": 1.0, "top_k": 1}
    if params.presence_penalty or params.frequency_penalty:
        order.insert(0, "penalties")
        chosen["presence_penalty"] = params.presence_penalty
        chosen["frequency_penalty"] = params.frequency_penalty
        chosen["repeat_last_n"] = len(prompt_ids) + params.max_tokens  # all of them
    return {**chosen, "samplers": order}


def _likelihood(token: dict[str, Any], top: int = 0) -> TokenLogprob:
    others = (token.get("top_logprobs") or ())[:top]
    return TokenLogprob(
        int(token["id"]),
        str(token["token"]),
        bytes(token["bytes"]),
        float(token["logprob"]),
        tuple(_likelihood(other) for other in others),
    )
