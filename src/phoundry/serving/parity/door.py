"""A replica's internal door, as the gate uses it: render a conversation, answer token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import httpx

from phoundry.errors import ModelError, Unavailable
from phoundry.serving.parity.steps import Said

_SECONDS = 1800.0  # for one answer: a large model on a small machine reads its prompt for long


class Door(Protocol):
    async def render(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None
    ) -> list[int] | None:
        """The ids that the replica would feed its engine; None where it refuses to."""
        ...

    async def generate(self, prompt_ids: Sequence[int], max_tokens: int) -> Said:
        """The engine's greedy answer."""
        ...


class ReplicaDoor:
    """Over HTTP. The token goes into a header and nowhere else."""

    def __init__(
        self, url: str, token: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=_SECONDS,
            trust_env=False,
            transport=transport,
        )

    async def render(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None
    ) -> list[int] | None:
        body: dict[str, Any] = {"messages": [dict(message) for message in messages]}
        if tools:
            body["tools"] = list(tools)
        reply = await self._ask("/internal/render", body)
        if reply.status_code == 400:
            return None
        return [int(token) for token in _value(reply)["prompt_ids"]]

    async def generate(self, prompt_ids: Sequence[int], max_tokens: int) -> Said:
        body = {"prompt_ids": list(prompt_ids), "max_tokens": max_tokens}
        value = _value(await self._ask("/internal/generate", body))
        ids = tuple(int(token) for token in value["token_ids"])
        return Said(ids, value["finish_reason"] == "stop")

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, path: str, body: dict[str, Any]) -> httpx.Response:
        try:
            return await self._client.post(path, json=body)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"The replica did not answer the gate: {type(error).__name__}.",
                remedy="See the deployment's log; `phoundry deployment retry` tries again.",
            ) from None


def _value(reply: httpx.Response) -> dict[str, Any]:
    if reply.status_code == 200:
        return reply.json()
    try:
        reason = str(reply.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        reason = reply.text[:200]
    if reply.status_code == 503:
        raise Unavailable(f"The replica is not ready: {reason}")
    raise ModelError(f"The replica failed ({reply.status_code}): {reason}")
