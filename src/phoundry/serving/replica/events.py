"""What OpenAI's two dialects of text share: heads, usage, likelihoods, and events without waste.

Everything of an event but its text is the same for a whole stream, so it is encoded once.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from phoundry.serving.asgi import EVENT_STREAM, Send, encode
from phoundry.serving.engines.base import TokenLogprob
from phoundry.serving.replica.generation import Piece
from phoundry.serving.replica.metrics import Passage

DONE = b"data: [DONE]\n\n"
# json.dumps with these arguments makes an encoder each time.
_quote = json.JSONEncoder(ensure_ascii=False).encode


class Reply(Protocol):
    """Writes a stream in one dialect."""

    def first(self) -> bytes:
        """What opens the stream."""
        ...

    def events(self, piece: Piece) -> bytes:
        """The events of one piece; after the last one also usage, if asked for, and the end."""
        ...


@dataclass(frozen=True, slots=True)
class Head:
    """What every object of one answer begins with. `model` is the name that was asked for."""

    kind: str
    prefix: str
    model: str
    prompt_tokens: int
    fingerprint: str | None
    created: int = field(default_factory=lambda: int(time.time()))
    secret: str = field(default_factory=lambda: secrets.token_hex(12))

    def of(self, kind: str | None = None) -> dict[str, Any]:
        return {
            "id": f"{self.prefix}-{self.secret}",
            "object": kind or self.kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }

    def usage(self, completion_tokens: int) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
        }


def cut(event: dict[str, Any], place: str) -> tuple[bytes, bytes]:
    """The bytes of `event` before and after the value `place` that stands in it."""
    before, after = sse(event).split(encode(place))
    return before, after


def filled(ends: tuple[bytes, bytes], text: str) -> bytes:
    """The event that was `cut`, with this text."""
    return ends[0] + _quote(text).encode() + ends[1]


def sse(value: dict[str, Any]) -> bytes:
    return b"data: " + encode(value) + b"\n\n"


def chat_logprobs(told: Iterable[TokenLogprob]) -> dict[str, Any]:
    """Chat's form: a list of tokens, each with the likeliest beside it."""
    content = [
        {**_chat_logprob(token), "top_logprobs": [_chat_logprob(other) for other in token.top]}
        for token in told
    ]
    return {"content": content, "refusal": None}


def _chat_logprob(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.data)}


async def stream(
    pieces: AsyncGenerator[Piece, None], reply: Reply, send: Send, passage: Passage
) -> None:
    """Events as they come. The status waits for the first piece, so that a failure has its own."""
    opening: bytes | None = reply.first()
    async with aclosing(pieces):
        async for piece in pieces:
            if opening is not None:
                headers = [EVENT_STREAM, (b"cache-control", b"no-cache")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            passage.piece(piece.tokens)
            event = reply.events(piece)
            if opening is not None:
                event, opening = opening + event, None
            last = piece.finish_reason is not None
            if event:
                await send({"type": "http.response.body", "body": event, "more_body": not last})
