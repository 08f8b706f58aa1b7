"""The gateway's HTTP surface: who asks for what, answered in the dialect of the path.

GET  /healthz                                  no key
GET  /metrics                                  the key's endpoints; all of them with metrics.token
GET  /v1/models                                the endpoints and deployments of the key
POST /v1/chat/completions                      model = ENDPOINT or ENDPOINT/DEPLOYMENT; so have
     /v1/completions, /v1/embeddings
POST /endpoints/NAME/score                     Azure's request and reply
POST /endpoints/NAME/v1/chat/completions       OpenAI's, model may be left out
GET  /endpoints/NAME/v1/models
"""

from __future__ import annotations

import traceback

from phoundry.errors import Cancelled, NotFound, PhoundryError
from phoundry.serving.asgi import (
    JSON_TYPE,
    Receive,
    Scope,
    Send,
    client_of,
    encode,
    header,
    read_body,
)
from phoundry.serving.errors import azure_body, openai_body, response_headers
from phoundry.serving.gateway.access import AccessLog
from phoundry.serving.gateway.addressing import model_of, named, split
from phoundry.serving.gateway.auth import presented_key
from phoundry.serving.gateway.cors import greeted, narrowed
from phoundry.serving.gateway.exchange import Exchange
from phoundry.serving.gateway.metrics_page import PATH as METRICS
from phoundry.serving.gateway.metrics_page import MetricsPage
from phoundry.serving.gateway.mirror import Mirror
from phoundry.serving.gateway.models import list_models
from phoundry.serving.gateway.relay import error_event, forward
from phoundry.serving.gateway.routing import PIN, Deployment, Endpoint, Router
from phoundry.serving.hosts import HostCheck
from phoundry.serving.paths import CHAT, COMPLETIONS, EMBEDDINGS, SCORE

_MODELS = "/v1/models"
_ASKED = (CHAT, COMPLETIONS, EMBEDDINGS, SCORE)
_ROUTES = {("GET", _MODELS), *(("POST", path) for path in _ASKED)}
_PIN = PIN.encode()


class GatewayApp:
    """ASGI application over a `Router`."""

    def __init__(self, router: Router, hosts: HostCheck, log: AccessLog, page: MetricsPage) -> None:
        self._router = router
        self._page = page
        self._metrics = page.metrics
        self._hosts = hosts
        self._log = log
        self._mirror = Mirror(router.passages, self._mirrored, self._metrics.dropped)

    async def close(self) -> None:
        await self._mirror.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange.of(scope, receive, send)
        try:
            await self._answer(exchange)
        except Cancelled:
            pass  # the client has left: nobody is there to answer
        except PhoundryError as error:
            self._metrics.refused(exchange, error)
            await _refuse(exchange, error)
        except Exception:
            traceback.print_exc()
            if exchange.status:
                raise
            await _refuse(exchange, PhoundryError("The gateway failed; its log says how."))
        finally:
            self._log.add(exchange)
            self._metrics.finish(exchange)

    async def _answer(self, exchange: Exchange) -> None:
        scope = exchange.scope
        origin = self._hosts.check(scope, self._router.origins)
        if origin is not None and await greeted(exchange, origin, self._router.origins):
            return
        method, path = scope["method"], scope["path"]
        if path == "/healthz" and method == "GET":
            await _reply(exchange, {"status": "ok", "generation": self._router.generation})
            return
        key = presented_key(scope)
        watching = path == METRICS and method == "GET"
        if watching and self._page.opens(key):
            await self._page.answer(exchange, None)
            return
        opened = self._opened(exchange, key, origin)
        if watching:
            await self._page.answer(exchange, opened)
        else:
            await self._serve(exchange, key, origin, opened)

    def _opened(self, exchange: Exchange, key: bytes, origin: bytes | None) -> frozenset[str]:
        """The endpoints that the key opens, for a page of this origin.

        Raises:
            Unauthenticated, Forbidden: none.
        """
        opened = self._router.keys.endpoints_of(key)
        if not opened:
            raise self._router.keys.refusal(key)
        if origin is None:
            return opened
        return narrowed(exchange, opened, origin, self._router.origins, self._hosts)

    async def _serve(
        self, exchange: Exchange, key: bytes, origin: bytes | None, opened: frozenset[str]
    ) -> None:
        scope = exchange.scope
        method, path = scope["method"], scope["path"]
        name, rest = split(path)
        if (method, rest) not in _ROUTES or (rest == SCORE and name is None):
            raise NotFound(f"There is no {method} {path[:100]} here.")
        endpoint = self._router.endpoint(name, opened) if name is not None else None
        if rest == _MODELS:
            names = opened if endpoint is None else {endpoint.name}
            await _reply(exchange, list_models(self._router, names))
            return
        generation = self._router.generation
        body = await read_body(scope, exchange.receive)
        if self._router.generation != generation:  # a body has a minute, in which keys are revoked
            opened = self._opened(exchange, key, origin)
            endpoint = self._router.endpoint(name, opened) if name is not None else None
        pinned = header(scope, _PIN)
        pin = pinned.decode("latin-1") if pinned is not None else None
        if rest != SCORE:
            endpoint, model = named(self._router, model_of(body), endpoint, opened)
            pin = model or pin
        assert endpoint is not None  # noqa: S101 - a score path has a name, and so has `named`
        if endpoint.rate is not None:
            endpoint.rate.admit(key)
        exchange.deployment = endpoint.choose(pin, self._router.chance)
        if endpoint.mirrors and pin is None:
            self._mirror.draw(exchange, endpoint, rest, body, self._router.chance)
        await self._pass(exchange, endpoint, exchange.deployment, key, rest, body)

    async def _pass(
        self,
        exchange: Exchange,
        endpoint: Endpoint,
        deployment: Deployment,
        key: bytes,
        path: str,
        body: bytes,
    ) -> None:
        """Have the deployment answer, for as long as client, key and time allow."""
        with self._router.passages.hold(endpoint.name, key) as passage:
            exchange.passage = passage
            passage.watch(client_of(exchange.scope, exchange.receive))
            passage.limit(deployment.timeout, deployment.name)
            await forward(exchange, deployment, path, body)

    def _mirrored(self, copy: Exchange) -> None:
        self._log.add(copy)
        self._metrics.mirrored(copy)


async def _reply(exchange: Exchange, value: object, status: int = 200) -> None:
    body = encode(value)
    await exchange.start(status, [JSON_TYPE, (b"content-length", str(len(body)).encode())])
    await exchange.body(body)


async def _refuse(exchange: Exchange, error: PhoundryError) -> None:
    """Answer with the error; a stream that has begun ends with it."""
    if exchange.status:
        await exchange.body(error_event(error))
        return
    azure = exchange.scope["path"].endswith(SCORE)
    body = encode(azure_body(error) if azure else openai_body(error))
    length = (b"content-length", str(len(body)).encode())
    await exchange.start(error.status, [JSON_TYPE, length, *response_headers(error)])
    await exchange.body(body)
