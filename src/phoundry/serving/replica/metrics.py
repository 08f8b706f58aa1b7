"""What the replica has done, as Prometheus reads it: the names are OpenTelemetry's for GenAI.

Everything is counted by dialect (chat, completions, embeddings, score), on the event loop's thread.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager

from phoundry.serving.exposition import (
    DURATION,
    EACH_TOKEN,
    FIRST_TOKEN,
    Histogram,
    head,
    sample,
)

_DURATION = "gen_ai_server_request_duration_seconds"
_FIRST = "gen_ai_server_time_to_first_token_seconds"
_EACH = "gen_ai_server_time_per_output_token_seconds"


class Passage:
    """One request while it is answered. The handlers say what they know of it."""

    def __init__(self, dialect: str, progressed: Callable[[float], None]) -> None:
        self._progressed = progressed
        self.dialect = dialect
        self.began = self.first_at = self.last_at = time.monotonic()
        self.streamed = False
        self.prompt_tokens = self.completion_tokens = 0
        self.status = 0

    def piece(self, tokens: int) -> None:
        """A piece of a stream is about to be sent; `tokens` of its answer are there by now."""
        self.last_at = time.monotonic()
        self._progressed(self.last_at)
        if not self.streamed:
            self.streamed, self.first_at = True, self.last_at
        self.completion_tokens = tokens

    @property
    def usage(self) -> tuple[bytes, bytes]:
        """The header by which the gateway counts a whole answer."""
        counts = f"{self.prompt_tokens},{self.completion_tokens}"
        return (b"x-phoundry-usage", counts.encode())


class Metrics:
    """All requests of this replica that came with its token."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._prompt: Counter[str] = Counter()
        self._completion: Counter[str] = Counter()
        self._durations: dict[str, Histogram] = {}
        self._firsts: dict[str, Histogram] = {}
        self._each: dict[str, Histogram] = {}
        self._passages: set[Passage] = set()
        self._progress_at = 0.0

    @property
    def running(self) -> int:
        return len(self._passages)

    @property
    def idle_seconds(self) -> float:
        """Since the engine was last seen to do something: it answered, gave a token, or began while
        it had nothing else to do. That somebody asks is no sign of its life."""
        return time.monotonic() - self._progress_at

    @contextmanager
    def passage(self, dialect: str) -> Generator[Passage]:
        """Count a request that is answered in the block; 499 where its client has left."""
        passage = Passage(dialect, self._progressed)
        if not self._passages:
            self._progressed(passage.began)
        self._passages.add(passage)
        try:
            yield passage
        finally:
            self._passages.discard(passage)
            self._count(passage)

    def text(self) -> str:
        """Prometheus' text format."""
        parts = [
            head("phoundry_replica_running", "gauge", "Requests in flight."),
            sample("phoundry_replica_running", {}, self.running),
            head("phoundry_replica_requests_total", "counter", "Requests by status."),
        ]
        for (dialect, status), count in sorted(self._requests.items()):
            labels = {"dialect": dialect, "status": str(status)}
            parts.append(sample("phoundry_replica_requests_total", labels, count))
        name = "phoundry_replica_tokens_total"
        parts.append(head(name, "counter", "Tokens of prompts (input) and answers (output)."))
        for kind, counts in (("input", self._prompt), ("output", self._completion)):
            for dialect, count in sorted(counts.items()):
                labels = {"dialect": dialect, "gen_ai_token_type": kind}
                parts.append(sample(name, labels, count))
        for name, what, found in (
            (_DURATION, "From a request to the end of its answer.", self._durations),
            (_FIRST, "From a request to the first piece of its stream.", self._firsts),
            (_EACH, "Seconds for each token of a stream after its first piece.", self._each),
        ):
            parts += _family(name, what, found)
        return "".join(parts)

    def _progressed(self, moment: float) -> None:
        self._progress_at = moment

    def _count(self, passage: Passage) -> None:
        dialect, ended = passage.dialect, time.monotonic()
        if passage.status == 200:
            self._progressed(ended)
        self._requests[dialect, passage.status or 499] += 1
        self._prompt[dialect] += passage.prompt_tokens
        self._completion[dialect] += passage.completion_tokens
        if passage.status == 200:
            took = ended - passage.began
            self._durations.setdefault(dialect, Histogram(DURATION)).record(took)
        if not passage.streamed:
            return
        first = passage.first_at - passage.began
        self._firsts.setdefault(dialect, Histogram(FIRST_TOKEN)).record(first)
        if passage.completion_tokens > 1:
            each = (passage.last_at - passage.first_at) / (passage.completion_tokens - 1)
            self._each.setdefault(dialect, Histogram(EACH_TOKEN)).record(each)


def _family(name: str, what: str, found: Mapping[str, Histogram]) -> Iterator[str]:
    yield head(name, "histogram", what)
    for dialect, histogram in sorted(found.items()):
        yield from histogram.lines(name, {"dialect": dialect})
