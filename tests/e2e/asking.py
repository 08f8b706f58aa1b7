"""Clients that ask an endpoint without a pause, and write down what became of every request."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

PIN = "azureml-model-deployment"


@dataclass
class Answers:
    """`lost`: requests without the answer that they should have had."""

    whole: int = 0
    streams: int = 0
    broken: int = 0  # streams that ended with an error event, as they do where a replica is lost
    by: Counter[str] = field(default_factory=Counter[str])
    lost: list[str] = field(default_factory=list[str])


class Asking:
    """Several connections in a thread of their own, from `with` until its end.

    One in four asks for a stream. A request is never sent twice by us: what counts is what the
    endpoint makes of it.
    """

    def __init__(self, base: str, key: str, model: str, connections: int = 6) -> None:
        self.answers = Answers()
        self._url = f"{base}/v1/chat/completions"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._model = model
        self._connections = connections
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "a request has no end"

    async def _run(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=45)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            await asyncio.gather(*(self._ask_on(session, n) for n in range(self._connections)))

    async def _ask_on(self, session: aiohttp.ClientSession, number: int) -> None:
        turn = number
        while not self._stop.is_set():
            turn += 1
            try:
                await self._ask(session, stream=turn % 4 == 0)
            except (aiohttp.ClientError, TimeoutError) as error:
                self.answers.lost.append(f"{type(error).__name__}: {error}")

    async def _ask(self, session: aiohttp.ClientSession, *, stream: bool) -> None:
        messages = [{"role": "user", "content": "What is red?"}]
        # Streams are long enough that some are on their way whatever happens.
        tokens = 64 if stream else 2
        body = {"model": self._model, "messages": messages, "max_tokens": tokens, "stream": stream}
        async with session.post(self._url, json=body, headers=self._headers) as response:
            text = await response.text()
            if response.status != 200:
                self.answers.lost.append(f"{response.status}: {text[:300]}")
                return
            self.answers.by[response.headers[PIN]] += 1
            if stream:
                self._take_stream(text)
            else:
                self._take_whole(json.loads(text))

    def _take_whole(self, answer: dict[str, Any]) -> None:
        self.answers.whole += 1
        if answer["choices"][0]["finish_reason"] not in ("stop", "length"):
            self.answers.lost.append(f"no end: {answer}")

    def _take_stream(self, text: str) -> None:
        self.answers.streams += 1
        events = [line.removeprefix("data: ") for line in text.split("\n") if line]
        if events and events[-1] == "[DONE]":
            return
        if events and "error" in json.loads(events[-1]):
            self.answers.broken += 1
            return
        self.answers.lost.append(f"a stream without an end: {text[-200:]!r}")
