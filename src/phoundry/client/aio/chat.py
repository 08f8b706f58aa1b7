"""Chat with an endpoint, awaited. Hand-written: an answer may keep its reader waiting for minutes,
and to cancel it must close the connection at once, so that the model stops."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from phoundry.client.chat import TIMEOUT, Answer, EndpointChat
from phoundry.client.transport import error_of


@dataclass(frozen=True, slots=True)
class AsyncEndpointChat:
    """As `EndpointChat`. The key is never in the repr."""

    chat: EndpointChat

    async def stream(
        self, messages: Sequence[Mapping[str, str]], **parameters: Any
    ) -> AsyncGenerator[str]:
        """The answer to a conversation, piece by piece.

        Args:
            messages: `{"role", "content"}` each.
            parameters: OpenAI's (`temperature`, `max_tokens`, `seed`, …).

        Raises:
            Unauthenticated, NotFound, Unavailable, …: what the gateway answered.
            ModelError: the model failed in the middle of its answer.
        """
        answer = Answer()
        request = self.chat.request(messages, parameters)
        try:
            async with (
                httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as http,
                http.stream("POST", **request) as response,
            ):
                if not response.is_success:
                    await response.aread()
                    raise error_of(response.status_code, response.text)
                async for line in response.aiter_lines():
                    if text := answer.take(line):
                        yield text
                    if answer.over:
                        break
        except httpx.TransportError as error:
            raise self.chat.failure(error) from None
        answer.end()
