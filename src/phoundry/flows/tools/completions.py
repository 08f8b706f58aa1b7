"""OpenAI's completions over plain HTTP: one answer, or its pieces as they come.

Only the named server is called: redirects are not followed, so a key is never sent elsewhere, and
a proxy of the environment is not used for addresses of this machine.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from phoundry.flows.document import is_mapping
from phoundry.flows.errors import OpenAIError

if TYPE_CHECKING:
    import httpx

LOCAL = ("127.0.0.1", "localhost", "::1")
CONNECT_SECONDS = 10.0
# Between two bytes. A small model on a busy CPU thinks long before its first token.
READ_SECONDS = 300.0
END = "[DONE]"
SHOWN = 500  # characters of a server's refusal
OK = 200
REMEDIES = {
    401: "Check the connection's key.",
    403: "Check the connection's key and what it may do.",
    404: "Check the connection's api_base and the node's model.",
    429: "Wait, or ask for less at once.",
    503: "Is the endpoint's deployment ready? See: phoundry endpoint list",
}


@dataclass(frozen=True, slots=True)
class Target:
    """A server and the model asked of it. `headers` hold the key."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    model: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])


def complete(target: Target, path: str, body: Mapping[str, Any], *, node: str) -> dict[str, Any]:
    """The first choice of the answer: `{"message": {"content"}}` or `{"text"}`.

    Raises:
        OpenAIError: not reached, refused, or not an answer of this kind.
    """
    with _client(target, node) as client:
        response = client.post(path, json=dict(body), params=dict(target.query))
        if response.status_code != OK:
            raise _refused(target, response, node)
        return _choice(response.text, node)


def stream(target: Target, path: str, body: Mapping[str, Any], *, node: str) -> Iterator[str]:
    """The text of the first choice, piece by piece.

    Raises:
        OpenAIError: not reached, refused, broken off before `[DONE]`, or not such a stream.
    """
    asked = {**body, "stream": True}
    with (
        _client(target, node) as client,
        client.stream("POST", path, json=asked, params=dict(target.query)) as response,
    ):
        if response.status_code != OK:
            response.read()
            raise _refused(target, response, node)
        for line in response.iter_lines():
            data = line.removeprefix("data:").strip()
            if not line.startswith("data:") or not data:
                continue
            if data == END:
                return
            yield _piece(data, node)
        raise OpenAIError(f"Execution failure in '{node}': the answer broke off before its end.")


@contextmanager
def _client(target: Target, node: str) -> Generator[httpx.Client]:
    """A client for one call, whose failures are the flow's."""
    import httpx

    address = urlsplit(target.url)
    try:
        with httpx.Client(
            base_url=target.url,
            headers=dict(target.headers),
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=address.hostname not in LOCAL,
            verify=address.scheme != "http",  # no certificates to load where there is no TLS
        ) as client:
            yield client
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OpenAIError(
            f"Execution failure in '{node}': {target.url} could not be reached: "
            f"{type(error).__name__}: {error}",
            remedy="Is the server running? For an endpoint of yours: phoundry status",
        ) from None


def _refused(target: Target, response: httpx.Response, node: str) -> OpenAIError:
    """What a status other than 200 means."""
    try:
        reason = _reason(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        reason = response.text[:SHOWN]
    return OpenAIError(
        f"Execution failure in '{node}': {target.url} answered {response.status_code}: {reason}",
        remedy=REMEDIES.get(response.status_code),
    )


def _choice(text: str, node: str) -> dict[str, Any]:
    """The first of `choices`; an `error` in its place is the server's, and is shown."""
    try:
        answer = json.loads(text)
        if "error" in answer:
            raise OpenAIError(f"Execution failure in '{node}': {_reason(answer['error'])}")
        return answer["choices"][0] if answer["choices"] else {}
    except (ValueError, KeyError, TypeError, IndexError):
        raise OpenAIError(
            f"Execution failure in '{node}': the server's answer has no choices: {text[:SHOWN]}",
            remedy="Is api_base the base of an OpenAI-compatible API (such as …/v1)?",
        ) from None


def _piece(data: str, node: str) -> str:
    choice = _choice(data, node)
    delta: dict[str, Any] = choice.get("delta") or {}
    return delta.get("content") or choice.get("text") or ""


def _reason(error: Any) -> str:
    return str(error.get("message", error)) if is_mapping(error) else str(error)
