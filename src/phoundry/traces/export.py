"""Sending traces to a collector over OTLP/HTTP: plain HTTP and JSON, no SDK."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

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
    """What takes traces at `url`, such as `http://127.0.0.1:4318/v1/traces`.

    Raises (when made):
        UsageError: `url` is no http address.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(
                f"'{url}' is no address of a collector.",
                remedy="Traces go out over HTTP, such as to http://127.0.0.1:4318",
            )
        self.url = url if parts.path.strip("/") else f"{url.rstrip('/')}/v1/traces"
        self._headers = dict(headers or {})
        self._local = parts.hostname in _LOCAL

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The one that the environment names."""
        return cls(settings.collector or "", settings.collector_headers)

    def send(self, traces: Iterable[Trace]) -> int:
        """Send `traces`; how many spans that were.

        Raises:
            Unavailable: not reached, or refused; what came before has been taken.
        """
        import httpx

        sent = 0
        # No redirects: prompts and headers go to the named server only.
        with httpx.Client(timeout=SECONDS, trust_env=not self._local) as client:
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
            except httpx.HTTPError as error:
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
