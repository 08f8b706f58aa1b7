"""Chat with an endpoint over OpenAI's wire format, streamed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import httpx

from phoundry.client.transport import error_of
from phoundry.errors import ModelError, Unavailable

if TYPE_CHECKING:
    from phoundry.client.endpoints import Endpoints

CONNECT_SECONDS = 5.0
# A first token may wait for a long prompt on a slow machine; the gateway's own limit is 180 s.
READ_SECONDS = 200.0
TIMEOUT = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)


@dataclass(frozen=True, slots=True)
class EndpointChat:
    """Where to ask, as what, and with which key. The key is never in the repr."""

    base_url: str
    model: str
    key: str = field(repr=False)

    def stream(self, messages: Sequence[Mapping[str, str]], **parameters: Any) -> Iterator[str]:
        """The answer to a conversation, piece by piece.

        Args:
            messages: `{"role", "content"}` each.
            parameters: OpenAI's (`temperature`, `max_tokens`, `seed`, …).

        Raises:
            Unauthenticated, NotFound, Unavailable, …: what the gateway answered.
            ModelError: the model failed in the middle of its answer.
        """
        try:
            with (
                httpx.Client(timeout=TIMEOUT, trust_env=False) as http,
                http.stream("POST", **self.request(messages, parameters)) as response,
            ):
                if not response.is_success:
                    response.read()
                    raise error_of(response.status_code, response.text)
                yield from answer_pieces(response.iter_lines())
        except httpx.TransportError as error:
            raise self.failure(error) from None

    def request(
        self, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Address, headers and body of the request, as httpx takes them."""
        return {
            "url": f"{self.base_url.rstrip('/')}/chat/completions",
            "headers": {"Authorization": f"Bearer {self.key}"},
            "json": {"model": self.model, "messages": list(messages), "stream": True, **parameters},
        }

    def failure(self, error: httpx.TransportError) -> Unavailable:
        """What a broken connection means here."""
        if isinstance(error, httpx.ConnectError):
            return Unavailable(
                f"No gateway answers at {self.base_url}.", remedy="Start it with `phoundry up`."
            )
        return Unavailable(
            f"The answer of '{self.model}' broke off ({type(error).__name__}).",
            remedy="See `phoundry deployment logs`.",
        )


def answer_pieces(lines: Iterable[str]) -> Iterator[str]:
    """The texts in OpenAI's event stream.

    Raises:
        ModelError: an error event, or a stream that ends without saying that it is done.
    """
    answer = Answer()
    for line in lines:
        if text := answer.take(line):
            yield text
        if answer.over:
            break
    answer.end()


class Answer:
    """An answer that comes line by line. `over` once nothing more can come."""

    def __init__(self) -> None:
        self.over = False
        self._done = False

    def take(self, line: str) -> str | None:
        """The text in a line of the event stream. Raises ModelError for an error event."""
        if not line.startswith("data:"):
            return None
        content = line.removeprefix("data:").strip()
        if content == "[DONE]":
            self.over = self._done = True
            return None
        event: Any = json.loads(content)
        if error := event.get("error"):
            message: Any = cast("dict[str, Any]", error).get("message", error)
            raise ModelError(f"The model failed while it answered: {message}")
        for choice in event.get("choices", [])[:1]:
            self._done = self._done or choice.get("finish_reason") is not None
            return choice.get("delta", {}).get("content")
        return None

    def end(self) -> None:
        """Raises ModelError where the stream has not said that it is done."""
        if not self._done:
            raise ModelError("The answer broke off before its end.")


def open_chat(endpoints: Endpoints, name: str) -> EndpointChat:
    """A chat with `ENDPOINT` or `ENDPOINT/DEPLOYMENT`; its key is fetched, not asked for."""
    view = endpoints.show(name.partition("/")[0])
    return EndpointChat(view.openai_base_url, name, endpoints.secret(view))
