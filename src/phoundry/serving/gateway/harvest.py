"""What only the replicas know, added up when somebody asks: tokens, and the time of each of them.

The gateway relays streams unread, so it cannot count their tokens. A replica counts from its start;
what it has counted since the last look is added here, so that the sums outlive replicas. What one
counts between the last look and its end is lost.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from weakref import WeakKeyDictionary

from phoundry.serving.exposition import EACH_TOKEN, Histogram, head, number, sample
from phoundry.serving.gateway.connection import BrokenOff
from phoundry.serving.gateway.metrics import Place, labels_of
from phoundry.serving.gateway.routing import Endpoint
from phoundry.serving.gateway.upstream import Upstream

TOKENS = "phoundry_gateway_tokens_total"
EACH = "gen_ai_server_time_per_output_token_seconds"
_REPLICA_TOKENS = "phoundry_replica_tokens_total"
_WAIT_SECONDS = 1.0  # for one replica; one that is silent is left out of this look
_AT_ONCE = 16
_SAMPLE = re.compile(r"(\w+)\{([^{}]*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_OPERATIONS = {"completions": "text_completion", "embeddings": "embeddings"}  # else: chat

Samples = Mapping[tuple[str, str, str], float]  # name, dialect, kind of token or bound


class Harvest:
    """The sums of one gateway since it started."""

    def __init__(self) -> None:
        self._seen: WeakKeyDictionary[Upstream, Samples] = WeakKeyDictionary()
        self._tokens: dict[tuple[str, str, str, str], float] = {}
        self._each: dict[Place, Histogram] = {}
        self._looking = asyncio.Lock()

    async def gather(self, endpoints: Iterable[Endpoint]) -> None:
        """Ask every ready replica of `endpoints` for what it has counted."""
        async with self._looking:  # of two looks, the older one must not be added last
            await self._gather(endpoints)

    async def _gather(self, endpoints: Iterable[Endpoint]) -> None:
        places = asyncio.Semaphore(_AT_ONCE)

        async def one(endpoint: str, deployment: str, upstream: Upstream) -> None:
            async with places:
                # A replica that does not answer is its deployment's matter, and not this page's.
                with suppress(OSError, BrokenOff):
                    async with asyncio.timeout(_WAIT_SECONDS):
                        text = await _ask(upstream)
                    self.add(endpoint, deployment, upstream, text)

        await asyncio.gather(
            *(
                one(deployment.endpoint, deployment.name, upstream)
                for endpoint in endpoints
                for deployment in endpoint.deployments.values()
                for upstream in deployment.replicas.all
            )
        )

    def add(self, endpoint: str, deployment: str, upstream: Upstream, text: str) -> None:
        """Add what the replica has counted since it was last looked at."""
        now = _samples(text)
        before: Samples = self._seen.get(upstream, {})
        if any(now.get(key, 0) < value for key, value in before.items()):
            before = {}  # it counts from its start again
        self._seen[upstream] = now
        new = {key: value - before.get(key, 0) for key, value in now.items()}
        for (name, dialect, kind), count in new.items():
            place = (endpoint, deployment, _OPERATIONS.get(dialect, "chat"))
            if name == _REPLICA_TOKENS:
                self._tokens[*place, kind] = self._tokens.get((*place, kind), 0) + count
        for dialect in {dialect for name, dialect, _ in new if name == f"{EACH}_bucket"}:
            place = (endpoint, deployment, _OPERATIONS.get(dialect, "chat"))
            _merge(self._each.setdefault(place, Histogram(EACH_TOKEN)), dialect, new)

    def forget(self, endpoints: Iterable[str]) -> None:
        """Drop the sums of endpoints that are not among `endpoints` any more."""
        there = frozenset(endpoints)
        self._tokens = {key: count for key, count in self._tokens.items() if key[0] in there}
        self._each = {place: each for place, each in self._each.items() if place[0] in there}

    def text(self, names: frozenset[str] | None) -> Iterator[str]:
        """Prometheus' text of the sums, of all endpoints or those `names`."""
        yield head(TOKENS, "counter", "Tokens that the replicas read and wrote, streams included.")
        for (*place, kind), count in list(self._tokens.items()):
            if names is None or place[0] in names:
                yield sample(TOKENS, {**labels_of(place), "gen_ai_token_type": kind}, count)
        yield head(EACH, "histogram", "Of streams: seconds for each token after the first.")
        for place, histogram in list(self._each.items()):
            if names is None or place[0] in names:
                yield "".join(histogram.lines(EACH, labels_of(place)))


async def _ask(upstream: Upstream) -> str:
    """Raises OSError or BrokenOff where the replica does not answer, TimeoutError among them.

    An error is no answer: taken for a page without samples, all would be counted again after it.
    """
    connection = await upstream.connect()
    try:
        await connection.ask(upstream.look("/metrics"))
        if connection.status != 200:
            raise BrokenOff
        return connection.body.decode()
    finally:
        upstream.release(connection)


def _samples(text: str) -> Samples:
    found: dict[tuple[str, str, str], float] = {}
    for name, inner, value in _SAMPLE.findall(text):
        labels = dict(_LABEL.findall(inner))
        kind = labels.get("gen_ai_token_type", labels.get("le", ""))
        found[name, labels.get("dialect", ""), kind] = float(value)
    return found


def _merge(histogram: Histogram, dialect: str, new: Samples) -> None:
    """Add a replica's new buckets, each of which has those below it in it."""
    below = 0.0
    for index, bound in enumerate((*EACH_TOKEN, float("inf"))):
        count = new.get((f"{EACH}_bucket", dialect, number(bound)), below)
        histogram.counts[index] += round(count - below)
        below = count
    histogram.total += new.get((f"{EACH}_sum", dialect, ""), 0.0)
