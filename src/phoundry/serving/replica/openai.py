"""OpenAI's dialect: chat completions, whole and streamed."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from phoundry.serving.asgi import encode
from phoundry.serving.errors import bad_parameter
from phoundry.serving.replica.defaults import NONE, filled, with_system
from phoundry.serving.replica.generation import Ask, Piece
from phoundry.serving.replica.parameters import Parameters, sampling
from phoundry.specs.deployment import GenerationDefaults

DONE = b"data: [DONE]\n\n"

_USED = frozenset(
    {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"}
    | {"temperature", "top_p", "top_k", "n", "stop", "seed"}
    | {"presence_penalty", "frequency_penalty", "response_format", "logprobs"}
)
# They change nothing about the answer of a model that runs here.
_WITHOUT_EFFECT = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
    | {"parallel_tool_calls", "reasoning_effort", "verbosity", "prediction"}
)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    ask: Ask
    model: str | None
    stream: bool
    include_usage: bool


def read(body: dict[str, Any], defaults: GenerationDefaults = NONE) -> ChatRequest:
    """The request in `body`, what it leaves out taken from the deployment's `defaults`.

    Raises InvalidInput naming what cannot be used.

    Without any temperature the answer is greedy (OpenAI's default is 1): the same question gets
    the same answer, which is what one wants of a model tuned on facts.
    """
    new, old = "max_completion_tokens", "max_tokens"
    name = new if body.get(new) is not None else old
    asked = filled(body, defaults, "temperature", "top_p", "stop", *([old] if name == old else []))
    parameters = Parameters(asked)
    parameters.refuse_unknown(_USED | _WITHOUT_EFFECT)
    if (parameters.integer("n", 1, 128) or 1) != 1:
        raise bad_parameter("n", f"is {body['n']}; one answer a request is given here, so 1.")
    if parameters.boolean("logprobs"):
        raise bad_parameter("logprobs", "is not supported here.")
    if parameters.mapping("response_format").get("type", "text") != "text":
        raise bad_parameter("response_format", 'is not supported here except {"type": "text"}.')
    options = Parameters(parameters.mapping("stream_options"), "stream_options.")
    return ChatRequest(
        Ask(
            messages=with_system(parameters.messages(), defaults),
            sampling=sampling(parameters, parameters.number("temperature", 0, 2)),
            max_tokens=parameters.integer(name, 1, 2**31),
            max_tokens_name=name,
            stop=parameters.stop(),
        ),
        model=parameters.text("model"),
        stream=parameters.boolean("stream") or False,
        include_usage=options.boolean("include_usage") or False,
    )


def _new_id() -> str:
    return "chatcmpl-" + secrets.token_hex(12)


@dataclass(frozen=True, slots=True)
class Reply:
    """Writes the answer to one request. `model` is the name that the client asked for."""

    model: str
    prompt_tokens: int
    include_usage: bool = False
    id: str = field(default_factory=_new_id)
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, piece: Piece) -> dict[str, Any]:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": piece.text, "refusal": None},
            "logprobs": None,
            "finish_reason": piece.finish_reason,
        }
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": self._usage(piece.tokens),
        }

    def first(self) -> bytes:
        """The event that opens a stream: the role."""
        return self._event({"role": "assistant", "content": ""}, None)

    def events(self, piece: Piece) -> bytes:
        """The events of one piece; after the last one also usage, if asked for, and the end."""
        parts: list[bytes] = []
        if piece.text:
            parts.append(self._event({"content": piece.text}, None))
        if piece.finish_reason:
            parts.append(self._event({}, piece.finish_reason))
            if self.include_usage:
                head = self._head("chat.completion.chunk")
                parts.append(_sse({**head, "choices": [], "usage": self._usage(piece.tokens)}))
            parts.append(DONE)
        return b"".join(parts)

    def _event(self, delta: dict[str, str], finish_reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _sse({**self._head("chat.completion.chunk"), "choices": [choice]})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _usage(self, completion_tokens: int) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
        }


def error_event(body: dict[str, Any]) -> bytes:
    """The event that ends a stream which failed."""
    return _sse(body)


def _sse(value: dict[str, Any]) -> bytes:
    return b"data: " + encode(value) + b"\n\n"
