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
        body = {"model": self.model, "messages": list(messages), "stream": True, **parameters}
        headers = {"Authorization": f"Bearer {self.key}"}
        timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        url = f"{self.base_url.rstrip('/')}/chat/completions"
        try:
            with (
                httpx.Client(timeout=timeout, trust_env=False) as http,
                http.stream("POST", url, json=body, headers=headers) as response,
            ):
                if not response.is_success:
                    response.read()
                    raise error_of(response.status_code, response.text)
                yield from answer_pieces(response.iter_lines())
        except httpx.ConnectError:
            raise Unavailable(
                f"No gateway answers at {self.base_url}.", remedy="Start it with `phoundry up`."
            ) from None
        except httpx.TransportError as error:
            raise Unavailable(
                f"The answer of '{self.model}' broke off ({type(error).__name__}).",
                remedy="See `phoundry deployment logs`.",
            ) from None


def answer_pieces(lines: Iterable[str]) -> Iterator[str]:
    """The texts in OpenAI's event stream.

    Raises:
        ModelError: an error event, or a stream that ends without saying that it is done.
    """
    done = False
    for line in lines:
        if not line.startswith("data:"):
            continue
        content = line.removeprefix("data:").strip()
        if content == "[DONE]":
            done = True
            break
        event: Any = json.loads(content)
        if error := event.get("error"):
            message: Any = cast("dict[str, Any]", error).get("message", error)
            raise ModelError(f"The model failed while it answered: {message}")
        for choice in event.get("choices", [])[:1]:
            done = done or choice.get("finish_reason") is not None
            if text := choice.get("delta", {}).get("content"):
                yield text
    if not done:
        raise ModelError("The answer broke off before its end.")


def open_chat(endpoints: Endpoints, name: str) -> EndpointChat:
    """A chat with `ENDPOINT` or `ENDPOINT/DEPLOYMENT`; its key is fetched, not asked for."""
    endpoint = name.partition("/")[0]
    view = endpoints.show(endpoint)
    keys = endpoints.keys(endpoint)
    return EndpointChat(view.openai_base_url, name, keys.primaryKey)
