"""Sending traces to a collector over OTLP/HTTP: plain HTTP and JSON, no SDK."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Self
from urllib.parse import SplitResult, urlsplit

from phoundry.errors import Unavailable, UsageError
from phoundry.settings import Settings
from phoundry.traces.otlp import request
from phoundry.traces.trace import Trace

if TYPE_CHECKING:
    import httpx

SPANS = 512  # in one request
SECONDS = 5.0
TRIES = 3
_BUSY = (429, 502, 503, 504)  # the ones that the specification has clients try again
_LOCAL = ("127.0.0.1", "localhost", "::1")
SHOWN = 200


class Collector:
    """What takes traces at `url`, such as `http://127.0.0.1:4318/v1/traces`, within `seconds`.

    Raises (when made):
        UsageError: `url` is no http address.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str] | None = None, *, seconds: float = SECONDS
    ) -> None:
        parts = _parts(url)
        if parts is None or not parts.hostname:
            raise UsageError(
                f"'{url}' is no address of a collector.",
                remedy="Traces go out over HTTP, such as to http://127.0.0.1:4318",
            )
        self.url = url if parts.path.strip("/") else f"{url.rstrip('/')}/v1/traces"
        self._headers = dict(headers or {})
        self._seconds = seconds
        self._local = parts.hostname in _LOCAL

    @classmethod
    def of(cls, settings: Settings, *, seconds: float = SECONDS) -> Self:
        """The one that the environment names."""
        return cls(settings.collector or "", settings.collector_headers, seconds=seconds)

    def send(self, traces: Iterable[Trace]) -> int:
        """Send `traces`; how many spans that were.

        Raises:
            Unavailable: not reached, or refused; what came before has been taken.
        """
        import httpx

        sent = 0
        # No redirects: prompts and headers go to the named server only.
        with httpx.Client(timeout=self._seconds, trust_env=not self._local) as client:
            for group in _groups(traces):
                self._post(client, group)
                sent += sum(len(trace.spans) for trace in group)
        return sent

    def _post(self, client: httpx.Client, traces: list[Trace]) -> None:
        import httpx

        body = request(traces)
        for left in reversed(range(TRIES)):
            try:
                response = client.post(self.url, json=body, headers=self._headers)
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                raise self._unavailable(f"{type(error).__name__} {error}".strip()) from None
            if response.is_success:
                return
            if response.status_code not in _BUSY or not left:
                text = response.text[:SHOWN].strip()
                raise self._unavailable(f"status {response.status_code} {text}".strip())
            time.sleep(0.1 * 2 ** (TRIES - left))

    def _unavailable(self, why: str) -> Unavailable:
        return Unavailable(
            f"The collector at {self.url} did not take the traces: {why}.",
            remedy="Does it take OTLP over HTTP there? Runs go on, and traces are kept here.",
        )


def _parts(url: str) -> SplitResult | None:
    """The parts of an http address; None for what is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # is looked at only now
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") else None


def _groups(traces: Iterable[Trace]) -> Iterator[list[Trace]]:
    """`traces` in groups of about `SPANS` spans; a trace is never divided."""
    group: list[Trace] = []
    count = 0
    for trace in traces:
        group.append(trace)
        count += len(trace.spans)
        if count >= SPANS:
            yield group
            group, count = [], 0
    if group:
        yield group
