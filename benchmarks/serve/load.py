"""Clients that read event streams at the lowest price that Python allows."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

# What the last event of each dialect says of the answer's tokens.
_COUNTS = (re.compile(rb'"completion_tokens": ?(\d+)'), re.compile(rb'"tokens_predicted": ?(\d+)'))
_ENDS = (b"data: [DONE]", b'"stop":true')


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer: seconds until its first token and until its end."""

    tokens: int
    first: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Round:
    """What all clients of a round got. `rate`: tokens a second of all of them together."""

    answers: list[Answered]
    seconds: float

    @property
    def rate(self) -> float:
        return sum(answer.tokens for answer in self.answers) / self.seconds


class _Stream(asyncio.Protocol):
    def __init__(self, request: bytes, done: asyncio.Future[Answered]) -> None:
        self._request, self._done = request, done
        self._held = bytearray()
        self._began = self._first = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._held += data
        if not self._first and b'"content":' in data and b'"content":""' not in data:
            self._first = time.perf_counter()
        if any(end in self._held[-4096:] for end in _ENDS) and not self._done.done():
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(SystemExit(f"broken off: {bytes(self._held[-600:])!r}"))

    def _end(self) -> None:
        now = time.perf_counter()
        counts = [found for pattern in _COUNTS for found in pattern.findall(self._held)]
        if not self._held.startswith(b"HTTP/1.1 200") or not counts:
            self._done.set_exception(SystemExit(f"unexpected: {bytes(self._held[:600])!r}"))
        else:
            first = (self._first or now) - self._began
            self._done.set_result(Answered(int(counts[-1]), first, now - self._began))
        self._transport.close()


def request(url: str, key: str, body: object) -> bytes:
    parts, content = urlsplit(url), json.dumps(body).encode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def play(url: str, requests: Sequence[Sequence[bytes]]) -> Round:
    """A client for each sequence, which asks its requests one after the other."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    loop = asyncio.get_running_loop()

    async def client(own: Sequence[bytes]) -> list[Answered]:
        answers: list[Answered] = []
        for each in own:
            done: asyncio.Future[Answered] = loop.create_future()
            await loop.create_connection(lambda e=each, d=done: _Stream(e, d), host, port)
            answers.append(await done)
        return answers

    began = time.perf_counter()
    lists = await asyncio.gather(*(client(own) for own in requests))
    return Round([answer for own in lists for answer in own], time.perf_counter() - began)
