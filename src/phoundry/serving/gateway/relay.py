"""Ask a replica and pass its answer on: whole, or as the event stream that it is."""

from __future__ import annotations

import asyncio
import json

import aiohttp

from phoundry.errors import PhoundryError, Unavailable
from phoundry.serving.asgi import Headers, encode
from phoundry.serving.errors import ReplicaFailed, RequestTimeout, openai_body
from phoundry.serving.gateway.exchange import Exchange
from phoundry.serving.gateway.routing import Deployment
from phoundry.serving.gateway.upstream import Upstream

_EVENTS = "text/event-stream"


class Relay:
    """One pooled session to all replicas."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            # A replica closes idle connections after 75 s; we do before, so none is found dead.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._session.close()

    async def forward(
        self, exchange: Exchange, deployment: Deployment, path: str, body: bytes
    ) -> None:
        """Send `body` to a replica of `deployment` and its answer to the client.

        Raises:
            Unavailable: no replica accepts connections.
            TooManyRequests: the deployment's queue is full.
            RequestTimeout: nothing came for the deployment's timeout, queueing included.
            ReplicaFailed: the replica answered 5xx, or broke off before it had answered.
        """
        begun = False
        try:
            async with asyncio.timeout(deployment.timeout) as deadline:
                await deployment.limiter.enter()
                try:
                    async with await self._connect(exchange, deployment, path, body) as response:
                        if response.content_type == _EVENTS and response.status == 200:
                            begun = True
                            await _stream(exchange, response, deadline, deployment.timeout)
                        else:
                            content = await response.read()
                            await _whole(exchange, response, content)
                finally:
                    deployment.limiter.leave()
        except TimeoutError:
            seconds = f"{deployment.timeout:g}"
            error = RequestTimeout(
                f"The deployment '{deployment.name}' did not answer within {seconds} s.",
                remedy="Ask for fewer tokens, or raise request_timeout_ms.",
            )
            await _fail(exchange, error, begun)
        except (aiohttp.ClientError, ConnectionError) as broken:
            reason = f"The replica broke off: {type(broken).__name__}."
            await _fail(exchange, ReplicaFailed(reason), begun)

    async def _connect(
        self, exchange: Exchange, deployment: Deployment, path: str, body: bytes
    ) -> aiohttp.ClientResponse:
        """The first replica that accepts the connection."""
        for upstream in deployment.upstreams():
            try:
                return await self._post(upstream, exchange, path, body)
            except aiohttp.ClientConnectorError:
                continue  # it has just gone; nothing was sent
        raise deployment.unavailable()

    async def _post(
        self, upstream: Upstream, exchange: Exchange, path: str, body: bytes
    ) -> aiohttp.ClientResponse:
        headers = upstream.headers(exchange.request_id)
        url = upstream.urls[path]
        return await self._session.post(url, data=body, headers=headers, allow_redirects=False)


async def _whole(exchange: Exchange, response: aiohttp.ClientResponse, content: bytes) -> None:
    """Pass a whole answer on. The caller's faults keep their status; the rest is the model's."""
    if response.status == 503:
        raise Unavailable("The replica is still starting.", remedy="Try again in some seconds.")
    if response.status != 200 and response.status not in (400, 413):
        raise ReplicaFailed.answered(response.status, _reason(content))
    headers: Headers = [
        (b"content-type", response.headers.get("content-type", "application/json").encode()),
        (b"content-length", str(len(content)).encode()),
    ]
    await exchange.start(response.status, headers)
    await exchange.body(content)


async def _stream(
    exchange: Exchange,
    response: aiohttp.ClientResponse,
    deadline: asyncio.Timeout,
    seconds: float,
) -> None:
    """Pass events on as they come, unparsed. Each piece has the whole timeout anew."""
    headers: Headers = [
        (b"content-type", response.headers["content-type"].encode()),
        (b"cache-control", b"no-cache"),
    ]
    await exchange.start(200, headers)
    clock = asyncio.get_running_loop().time
    async for piece in response.content.iter_any():
        deadline.reschedule(clock() + seconds)
        await exchange.body(piece, more=True)
    await exchange.body(b"")


async def _fail(exchange: Exchange, error: PhoundryError, begun: bool) -> None:
    """Raise `error`; where a stream has begun, end it with an error event instead."""
    if not begun or not exchange.status:
        raise error
    await exchange.body(b"data: " + encode(openai_body(error)) + b"\n\n")


def _reason(content: bytes) -> str:
    """The message of a replica's error body, whichever dialect."""
    try:
        return str(json.loads(content)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "The replica gave no reason."
