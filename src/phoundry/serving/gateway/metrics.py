"""What the gateway counts: answers and their times, refusals, mirrored requests, tokens.

The names are OpenTelemetry's for generative AI in Prometheus' spelling (`gen_ai.server.request.
duration` in seconds is `gen_ai_server_request_duration_seconds`), and `phoundry_gateway_…` where it
has none. Recording happens after an answer has gone out, in plain dictionaries and lists.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from phoundry.errors import PhoundryError
from phoundry.serving.exposition import (
    DURATION,
    FIRST_TOKEN,
    TOKENS,
    Histogram,
    head,
    sample,
)
from phoundry.serving.gateway.exchange import Exchange
from phoundry.serving.gateway.routing import Deployment, Endpoint

_DURATION = "gen_ai_server_request_duration_seconds"
_FIRST = "gen_ai_server_time_to_first_token_seconds"
_TOKENS = "gen_ai_client_token_usage"
_REFUSED = "phoundry_gateway_refused_total"
_MIRRORED = "phoundry_gateway_mirrored_total"
_LEFT = "phoundry_gateway_clients_left_total"

Place = tuple[str, str, str]  # endpoint, deployment, operation
KeyT = TypeVar("KeyT", bound=tuple[object, ...])
ValueT = TypeVar("ValueT")


class Metrics:
    """Of one gateway, since it started. Used by one event loop."""

    def __init__(self) -> None:
        self._durations: dict[tuple[str, str, str, int, str], Histogram] = {}
        self._first: dict[Place, Histogram] = {}
        self._tokens: dict[tuple[str, str, str, str], Histogram] = {}
        self._refused: dict[tuple[str, str], int] = {}
        self._mirrored: dict[tuple[str, str, str], int] = {}
        self._left: dict[tuple[str, str], int] = {}

    def finish(self, exchange: Exchange) -> None:
        """Count what has been answered, once it has."""
        deployment = exchange.deployment
        if deployment is None:
            return  # refused at the door, or not for a model
        endpoint, name, status = deployment.endpoint, deployment.name, exchange.status
        if not status:
            self._left[endpoint, name] = self._left.get((endpoint, name), 0) + 1
            return
        operation = _operation(exchange.scope["path"])
        key = (endpoint, name, operation, status, exchange.cut)
        durations = self._durations.get(key)
        if durations is None:
            durations = self._durations[key] = Histogram(DURATION)
        durations.record(time.perf_counter() - exchange.began)
        if exchange.streamed:
            self._streamed((endpoint, name, operation), exchange.answered - exchange.began)
        elif exchange.usage is not None:
            self._used((endpoint, name, operation), exchange.usage)

    def refused(self, exchange: Exchange, error: PhoundryError) -> None:
        """A request is about to be answered with an error instead of a replica's answer."""
        if exchange.status:  # a stream that had begun
            exchange.cut = error.code
            return
        place = exchange.deployment or error
        key = (str(getattr(place, "endpoint", "")), error.code)  # "": nobody knows whose it was
        self._refused[key] = self._refused.get(key, 0) + 1

    def mirrored(self, copy: Exchange) -> None:
        """A copy has been answered, which nobody is shown."""
        self.finish(copy)
        if copy.deployment is not None:
            self._copied(copy.deployment, str(copy.status or "left"))

    def dropped(self, deployment: Deployment) -> None:
        """A copy was not sent: the mirror has no replica or no place."""
        self._copied(deployment, "dropped")

    def _copied(self, deployment: Deployment, outcome: str) -> None:
        key = (deployment.endpoint, deployment.name, outcome)
        self._mirrored[key] = self._mirrored.get(key, 0) + 1

    def forget(self, endpoints: Iterable[str]) -> None:
        """Drop the series of endpoints that are not among `endpoints` any more."""
        there = {"", *endpoints}
        self._durations = _of(self._durations, there)
        self._first = _of(self._first, there)
        self._tokens = _of(self._tokens, there)
        self._refused = _of(self._refused, there)
        self._mirrored = _of(self._mirrored, there)
        self._left = _of(self._left, there)

    def text(self, names: frozenset[str] | None = None) -> Iterator[str]:
        """Prometheus' text in pieces, a family after the other, of all endpoints or those `names`.

        What is recorded between two pieces may or may not be in it.
        """
        yield head(_DURATION, "histogram", "From a request's head to the last byte of its answer.")
        for (*place, status, cut), histogram in list(_seen(self._durations, names).items()):
            yield "".join(histogram.lines(_DURATION, labels_of(place) | _outcome(status, cut)))
        yield head(_FIRST, "histogram", "Of streams: until the first piece was passed on.")
        for place, histogram in list(_seen(self._first, names).items()):
            yield "".join(histogram.lines(_FIRST, labels_of(place)))
        yield head(_TOKENS, "histogram", "Tokens of whole answers: of prompts and of completions.")
        for (*place, kind), histogram in list(_seen(self._tokens, names).items()):
            yield "".join(histogram.lines(_TOKENS, {**labels_of(place), "gen_ai_token_type": kind}))
        yield from self._counters(names)

    def _counters(self, names: frozenset[str] | None) -> Iterator[str]:
        yield head(_REFUSED, "counter", "Requests that the gateway refused, by the error's code.")
        for (endpoint, code), count in list(_seen(self._refused, names).items()):
            yield sample(_REFUSED, {"endpoint": endpoint, "reason": code}, count)
        yield head(_MIRRORED, "counter", "Copies for mirrors, by what became of them.")
        for (endpoint, name, outcome), count in list(_seen(self._mirrored, names).items()):
            labels = {"endpoint": endpoint, "deployment": name, "outcome": outcome}
            yield sample(_MIRRORED, labels, count)
        yield head(_LEFT, "counter", "Clients that left before anything was answered.")
        for (endpoint, name), count in list(_seen(self._left, names).items()):
            yield sample(_LEFT, {"endpoint": endpoint, "deployment": name}, count)

    def _streamed(self, place: Place, seconds: float) -> None:
        histogram = self._first.get(place)
        if histogram is None:
            histogram = self._first[place] = Histogram(FIRST_TOKEN)
        histogram.record(seconds)

    def _used(self, place: Place, usage: str) -> None:
        """`usage`: what a replica says of a whole answer, `PROMPT,COMPLETION`."""
        prompt, _, completion = usage.partition(",")
        if not (prompt.isdecimal() and completion.isdecimal()):
            return
        for kind, count in (("input", prompt), ("output", completion)):
            histogram = self._tokens.get((*place, kind))
            if histogram is None:
                histogram = self._tokens[*place, kind] = Histogram(TOKENS)
            histogram.record(int(count))


def in_flight(endpoints: Iterable[Endpoint]) -> Iterator[str]:
    """What the deployments do at this moment."""
    deployments = [each for endpoint in endpoints for each in endpoint.deployments.values()]
    running, waiting = "phoundry_gateway_requests_running", "phoundry_gateway_requests_waiting"
    yield head(running, "gauge", "Requests that a replica answers.")
    for each in deployments:
        labels = {"endpoint": each.endpoint, "deployment": each.name}
        yield sample(running, labels, each.limiter.running)
    yield head(waiting, "gauge", "Requests that wait for a place.")
    for each in deployments:
        labels = {"endpoint": each.endpoint, "deployment": each.name}
        yield sample(waiting, labels, each.limiter.in_flight - each.limiter.running)


def _operation(path: str) -> str:
    if path.endswith("/v1/completions"):
        return "text_completion"
    return "embeddings" if path.endswith("/embeddings") else "chat"


def labels_of(place: Iterable[str]) -> dict[str, str]:
    """The labels of an endpoint, a deployment and an operation."""
    endpoint, deployment, operation = place
    return {
        "endpoint": endpoint,
        "deployment": deployment,
        "gen_ai_operation_name": operation,
        "gen_ai_provider_name": "phoundry",
        "gen_ai_request_model": endpoint,
    }


def _outcome(status: int, cut: str) -> dict[str, str]:
    """`error_type`: the status of a failure, or why a stream ended before its end."""
    kind = {"status": f"{status // 100}xx"}
    error = cut or (str(status) if status >= 400 else "")
    return kind | {"error_type": error} if error else kind


def _seen(series: Mapping[KeyT, ValueT], names: frozenset[str] | None) -> Mapping[KeyT, ValueT]:
    return series if names is None else _of(series, names)


def _of(series: Mapping[KeyT, ValueT], names: Iterable[object]) -> dict[KeyT, ValueT]:
    """The series whose endpoint, the first part of their key, is one of `names`."""
    return {key: value for key, value in series.items() if key[0] in names}
