"""llama.cpp through xllamacpp: its server, inside this process or another.

xllamacpp's `Server` (`llamacpp_server`) listens on a loopback port of its own. We speak HTTP to
that port rather than use its callbacks: a callback holds one Python thread for each request and
takes the GIL for each token, and it cannot cancel while a prompt is being read; a closed connection
can.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from phoundry.errors import ModelError
from phoundry.serving.engines.base import (
    Delta,
    EngineSpec,
    Feature,
    FinishReason,
    SamplingParams,
    TokenLogprob,
)
from phoundry.serving.engines.llamacpp_server import open_server
from phoundry.serving.engines.llamacpp_wire import Listener
from phoundry.serving.errors import bad_parameter

_SCHEMAS = 256  # remembered
_CERTAIN = 1e9  # added to a logit: this token and no other
_LAST = ["stop", "stop_type", "tokens_predicted", "completion_probabilities"]
_WHOLE = [*_LAST, "content", "tokens"]


class LlamaCppClient:
    """A llama.cpp that listens somewhere, as an engine.

    `lora`: the scale of every adapter that it has loaded, for each request. All are named, also
    those of scale 0: where none is, llama.cpp takes what it remembers of a prompt for its own,
    though another adapter has read it.
    """

    features: frozenset[Feature] = frozenset({"logprobs", "json_schema", "embeddings"})

    def __init__(
        self, listener: Listener, spec: EngineSpec, lora: Sequence[Mapping[str, float]] = ()
    ) -> None:
        self.context_length = spec.context_length
        self.slots = spec.slots
        self._end = spec.end_token_ids
        self._listener = listener
        self._lora = list(lora)
        self._strange_ends: bool | None = None
        self._kept: OrderedDict[bytes, bool] = OrderedDict()  # by schema: do answers keep to it

    async def generate(
        self, prompt_ids: list[int], params: SamplingParams
    ) -> AsyncGenerator[Delta, None]:
        if params.json_schema is not None:
            await self._check_schema(params.json_schema, params.schema_parameter)
        strange = (params.whole or params.exact_ids) and await self._has_strange_ends()
        # Not streamed, llama.cpp tells every id; but then it looks for a caller that has left only
        # when nobody gets a token for a second.
        exact = params.exact_ids and not strange
        request = self._request(prompt_ids, params, stream=not exact)
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
        """Nothing is this client's own."""

    async def _has_strange_ends(self) -> bool:
        """Whether the tokenizer has an end token that the GGUF does not know as one.

        Then answers are read token by token, to end there. It is found out by making each of them
        the only likely token after nothing much.
        """
        if self._strange_ends is None:
            once = SamplingParams(max_tokens=1)
            known = [await self._ends_at(token, once) for token in self._end]
            self._strange_ends = not all(known)
        return self._strange_ends

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
        request = self._request([token], params, stream=False)
        request["logit_bias"] = [[token, _CERTAIN]]
        answer = await self._listener.post("/completion", request)
        try:
            return json.loads(await answer.whole())["stop_type"] == "eos"
        finally:
            answer.close()

    def _request(
        self, prompt_ids: list[int], params: SamplingParams, *, stream: bool
    ) -> dict[str, Any]:
        request = _request(prompt_ids, params, stream=stream)
        return {**request, "lora": self._lora} if self._lora else request

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


class LlamaCppEngine(LlamaCppClient):
    """A GGUF file in llama.cpp. Memory: the file + slots * context_length * bytes of KV a token.

    A process holds the answers of one file alone to JSON schemas. llama.cpp remembers the tokens
    for that by the address of the vocabulary, and the vocabulary of a file that is opened later may
    lie at the same address: its answers would be held to the tokens of the first.
    """

    _held: ClassVar[Path | None] = None  # the file whose tokens are remembered

    def __init__(self, spec: EngineSpec) -> None:
        key = secrets.token_urlsafe(32)
        self._server: Any = open_server(spec, key)
        self._file = spec.gguf_path
        super().__init__(Listener(self._server.listening_address, key), spec)

    async def _check_schema(self, schema: Mapping[str, Any], name: str) -> None:
        """Raise ModelError also where this process has held another file's answers to a schema."""
        if LlamaCppEngine._held is None:
            LlamaCppEngine._held = self._file
        if LlamaCppEngine._held != self._file:
            raise ModelError(
                f"This process holds answers of {LlamaCppEngine._held} to JSON schemas, and "
                "llama.cpp can do so for one file in a process.",
                remedy="Open each model in a process of its own.",
            )
        await super()._check_schema(schema, name)

    async def close(self) -> None:
        self._server = None  # its destructor stops the threads and frees the model


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
