"""Mirroring: copies of some requests for another deployment, whose answers nobody is shown.

A copy leaves after the request that it copies, takes none of its time, and its failure is its own.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial

from phoundry.errors import PhoundryError
from phoundry.serving.asgi import Message
from phoundry.serving.errors import TooManyRequests
from phoundry.serving.gateway.exchange import Exchange
from phoundry.serving.gateway.passages import Passages
from phoundry.serving.gateway.relay import forward
from phoundry.serving.gateway.routing import Deployment, Endpoint


class Mirror:
    """Draws which requests are copied, and sends the copies in the background.

    A copy waits in its deployment's queue as a request does. Where that is full, or no replica is
    ready, it is dropped: it never wakes a deployment.
    """

    def __init__(
        self,
        passages: Passages,
        finished: Callable[[Exchange], None],
        dropped: Callable[[Deployment], None],
    ) -> None:
        """`finished` is told of each copy with the status that its answer had."""
        self._passages = passages
        self._finished = finished
        self._dropped = dropped
        self._tasks: set[asyncio.Task[None]] = set()

    def draw(
        self, exchange: Exchange, endpoint: Endpoint, path: str, body: bytes, chance: random.Random
    ) -> None:
        """Let the exchange's copy go to a mirror of its endpoint, by the mirror's percent."""
        for deployment, percent in endpoint.mirrors:
            if chance.random() * 100 < percent:
                exchange.copy = partial(self._send, exchange, deployment, path, body)
                return

    def _send(self, exchange: Exchange, deployment: Deployment, path: str, body: bytes) -> None:
        if deployment.replicas.pick() is None or deployment.limiter.full:
            self._dropped(deployment)
            return
        copy = Exchange(exchange.scope, exchange.receive, _discard, exchange.request_id)
        copy.deployment = deployment
        copy.mirrored = True
        task = asyncio.create_task(self._run(copy, deployment, path, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, copy: Exchange, deployment: Deployment, path: str, body: bytes) -> None:
        try:
            with self._passages.hold(deployment.endpoint, None) as passage:
                copy.passage = passage
                passage.limit(deployment.timeout, deployment.name)
                await forward(copy, deployment, path, body)
        except TooManyRequests:
            self._dropped(deployment)
            return
        except PhoundryError as error:
            copy.status = error.status
        self._finished(copy)

    async def close(self) -> None:
        """Give up the copies that are under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _discard(message: Message) -> None:
    """Where the answer of a copy goes."""
