"""One pooled HTTP client for all of a process's calls of models, and what is tried again.

Only the named server is called: redirects are not followed, so a key is never sent elsewhere, and
a proxy of the environment is not used for addresses of this machine.

Tried again, as Prompt flow's own tool does: 429 and 5xx (422 three times at most), after the time
that `Retry-After` names, else after 3, 4, 6, 10, … seconds; and a kept connection that the server
had closed, once and at once. Waiting ends after `PATIENCE` seconds in all. A server on this machine
is asked again only where it says when: a replica that failed does not get better by waiting.

A call tells which trace it belongs to (`traceparent`), where the run has one that others know of.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from phoundry.flows.document import is_mapping
from phoundry.flows.errors import OpenAIError
from phoundry.flows.spans import context_headers
from phoundry.flows.tools.model_errors import APIConnectionError, APITimeoutError, of_status

if TYPE_CHECKING:
    import httpx

LOCAL = ("127.0.0.1", "localhost", "::1")
CONNECT_SECONDS = 10.0
# Between two bytes. A small model on a busy CPU thinks long before its first token.
READ_SECONDS = 300.0
MOST_CONNECTIONS = 256
KEPT_CONNECTIONS = 64
TRIES = 10
TRIES_UNPROCESSABLE = 3
PATIENCE = 120.0  # seconds of waiting between tries, in all
LONGEST_WAIT = 60.0
OK, UNPROCESSABLE, TOO_MANY, INTERNAL = 200, 422, 429, 500
SHOWN = 500  # characters of a server's refusal
REMEDIES = {
    401: "Check the connection's key.",
    403: "Check the connection's key and what it may do.",
    404: "Check the connection's api_base and the node's model.",
    429: "Wait, or ask for less at once.",
    503: "Is the endpoint's deployment ready? See: phoundry endpoint list",
}
_clients: dict[tuple[bool, bool], httpx.Client] = {}
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Target:
    """A server and the model asked of it. `headers` hold the key."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    model: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def azure(self) -> bool:
        """Whether it is spoken to as Azure OpenAI is."""
        return "api-key" in self.headers


@contextmanager
def answered(
    target: Target,
    path: str,
    body: Mapping[str, Any],
    *,
    node: str,
    seconds: float | None = None,
    context: Mapping[str, str] | None = None,
) -> Generator[httpx.Response]:
    """The server's answer of status 200 to `body`, unread: `.read()` it or take its lines.

    `seconds` bounds the wait between two bytes. `context` tells of the trace in place of what
    `context_headers()` finds here.

    Raises:
        OpenAIError: not reached or refused, also after the tries; of the class for the status.
    """
    import httpx

    tries, handed_out = _Tries(target), False
    told = context_headers() if context is None else context
    while True:
        try:
            with client_for(target.url).stream(
                "POST",
                target.url + path,
                json=dict(body),
                params=dict(target.query),
                headers={**told, **target.headers},
                timeout=httpx.Timeout(seconds or READ_SECONDS, connect=CONNECT_SECONDS),
            ) as response:
                if response.status_code == OK:
                    handed_out = True
                    yield response
                    return
                response.read()
                refusal = _refused(target, response, node)
                wait = tries.wait(response)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if not handed_out and tries.again_at_once(error):
                continue
            raise _not_reached(target, node, error) from None
        if wait is None:
            raise refusal
        time.sleep(wait)


class _Tries:
    """Whether, and after how many seconds, a call is tried again."""

    def __init__(self, target: Target) -> None:
        self.local = urlsplit(target.url).hostname in LOCAL
        self.done, self.unprocessable, self.waited = 0, 0, 0.0
        self.reconnected = False

    def wait(self, response: httpx.Response) -> float | None:
        """Seconds until the next try; None where this refusal stands."""
        self.done += 1
        status = response.status_code
        self.unprocessable = self.unprocessable + 1 if status == UNPROCESSABLE else 0
        if status not in (UNPROCESSABLE, TOO_MANY) and status < INTERNAL:
            return None
        if self.done > TRIES or self.unprocessable >= TRIES_UNPROCESSABLE:
            return None
        named = _seconds(response.headers.get("retry-after"))
        if named is None and (self.local or _no_quota(response)):
            return None
        wait = min(LONGEST_WAIT, 2.0 + 2 ** (self.done - 1)) if named is None else named
        self.waited += wait
        return wait if self.waited <= PATIENCE else None

    def again_at_once(self, error: Exception) -> bool:
        """The server closed a connection that was kept for later: nothing was asked of it yet."""
        if self.reconnected or "disconnected without sending a response" not in str(error):
            return False
        self.reconnected = True
        return True


def close_clients() -> None:
    """Close the pooled connections; the next call opens new ones."""
    with _lock:
        clients = list(_clients.values())
        _clients.clear()
    for client in clients:
        client.close()


def reason_of(error: Any) -> str:
    """The text of an `error` in an answer."""
    return str(error.get("message", error)) if is_mapping(error) else str(error)


def client_for(url: str) -> httpx.Client:
    """The process's client for `url`."""
    import httpx

    address = urlsplit(url)
    # No certificates to load where there is no TLS, and no proxy on the way to this machine.
    kind = (address.scheme != "http", address.hostname not in LOCAL)
    with _lock:
        if kind not in _clients:
            if not _clients:
                atexit.register(close_clients)
            _clients[kind] = httpx.Client(
                follow_redirects=False,
                verify=kind[0],
                trust_env=kind[1],
                limits=httpx.Limits(
                    max_connections=MOST_CONNECTIONS, max_keepalive_connections=KEPT_CONNECTIONS
                ),
            )
        return _clients[kind]


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text is not None else None
    except ValueError:
        return None  # a date: what the wait would be without it


def _no_quota(response: httpx.Response) -> bool:
    """Whether 429 means that nothing is left to spend, which no waiting changes."""
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return False
    return is_mapping(error) and "insufficient_quota" in (error.get("type"), error.get("code"))


def _refused(target: Target, response: httpx.Response, node: str) -> OpenAIError:
    """What a status other than 200 means."""
    try:
        reason = reason_of(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        reason = response.text[:SHOWN]
    return of_status(response.status_code)(
        f"Execution failure in '{node}': {target.url} answered {response.status_code}: {reason}",
        remedy=REMEDIES.get(response.status_code),
    )


def _not_reached(target: Target, node: str, error: Exception) -> OpenAIError:
    import httpx

    kind = APITimeoutError if isinstance(error, httpx.TimeoutException) else APIConnectionError
    return kind(
        f"Execution failure in '{node}': {target.url} could not be reached: "
        f"{type(error).__name__}: {error}",
        remedy="Is the server running? For an endpoint of yours: phoundry status",
    )
