"""The gateway's HTTP surface: who asks for what, answered in the dialect of the path.

GET  /healthz                                  no key
GET  /v1/models                                the endpoints and deployments of the key
POST /v1/chat/completions                      model = ENDPOINT or ENDPOINT/DEPLOYMENT
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
    encode,
    header,
    parse_object,
    read_body,
    while_connected,
)
from phoundry.serving.errors import azure_body, bad_parameter, openai_body, response_headers
from phoundry.serving.gateway.access import AccessLog
from phoundry.serving.gateway.auth import presented_key, wrong_key
from phoundry.serving.gateway.exchange import Exchange
from phoundry.serving.gateway.models import list_models
from phoundry.serving.gateway.relay import Relay
from phoundry.serving.gateway.routing import PIN, Endpoint, Router
from phoundry.serving.hosts import HostCheck
from phoundry.serving.paths import CHAT, SCORE

_MODELS = "/v1/models"
_ROUTES = {("POST", CHAT), ("GET", _MODELS), ("POST", SCORE)}
_PIN = PIN.encode()


class GatewayApp:
    """ASGI application over a `Router`."""

    def __init__(self, router: Router, relay: Relay, hosts: HostCheck, log: AccessLog) -> None:
        self._router = router
        self._relay = relay
        self._hosts = hosts
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange.of(scope, receive, send)
        try:
            await self._answer(exchange)
        except Cancelled:
            pass  # the client has left: nobody is there to answer
        except PhoundryError as error:
            await _refuse(exchange, error)
        except Exception:
            traceback.print_exc()
            if exchange.status:
                raise
            await _refuse(exchange, PhoundryError("The gateway failed; its log says how."))
        finally:
            self._log.add(exchange)

    async def _answer(self, exchange: Exchange) -> None:
        scope = exchange.scope
        self._hosts.check(scope)
        method, path = scope["method"], scope["path"]
        if path == "/healthz" and method == "GET":
            await _reply(exchange, {"status": "ok", "generation": self._router.generation})
            return
        key = presented_key(scope)
        opened = self._router.keys.endpoints_of(key)
        if not opened:
            raise wrong_key()
        name, rest = _split(path)
        if (method, rest) not in _ROUTES or (rest == SCORE and name is None):
            raise NotFound(f"There is no {method} {path[:100]} here.")
        endpoint = self._router.endpoint(name, opened) if name is not None else None
        if rest == _MODELS:
            names = opened if endpoint is None else {endpoint.name}
            await _reply(exchange, list_models(self._router, names))
            return
        body = await read_body(scope, exchange.receive)
        pinned = header(scope, _PIN)
        pin = pinned.decode("latin-1") if pinned is not None else None
        if rest == CHAT:
            endpoint, named = self._named(parse_object(body).get("model"), endpoint, opened)
            pin = named or pin
        assert endpoint is not None  # noqa: S101 - a score path has a name, and so has `_named`
        deployment = endpoint.choose(pin, self._router.chance)
        exchange.deployment = deployment
        with self._router.passages.hold(endpoint.name, key):
            async with while_connected(exchange.receive):
                await self._relay.forward(exchange, deployment, rest, body)

    def _named(
        self, model: object, endpoint: Endpoint | None, opened: frozenset[str]
    ) -> tuple[Endpoint, str | None]:
        """The endpoint, and the deployment if there is one, that `model` names."""
        if model is None and endpoint is not None:
            return endpoint, None
        if not isinstance(model, str) or not model:
            raise bad_parameter("model", "must name an endpoint, or ENDPOINT/DEPLOYMENT.")
        name, _, deployment = model.partition("/")
        if endpoint is not None and name != endpoint.name:
            raise NotFound(
                f"The model '{model[:100]}' is not of the endpoint '{endpoint.name}'.",
                remedy=f"Use '{endpoint.name}', or '{endpoint.name}/DEPLOYMENT'.",
            )
        return endpoint or self._router.endpoint(name, opened), deployment or None


def _split(path: str) -> tuple[str | None, str]:
    """`('faq', '/score')` from `/endpoints/faq/score`; no name in other paths."""
    if not path.startswith("/endpoints/"):
        return None, path
    name, slash, rest = path[len("/endpoints/") :].partition("/")
    return name, slash + rest


async def _reply(exchange: Exchange, value: object, status: int = 200) -> None:
    body = encode(value)
    await exchange.start(status, [JSON_TYPE, (b"content-length", str(len(body)).encode())])
    await exchange.body(body)


async def _refuse(exchange: Exchange, error: PhoundryError) -> None:
    """Answer with the error; a stream that has begun ends with it."""
    if exchange.status:
        await exchange.body(b"data: " + encode(openai_body(error)) + b"\n\n")
        return
    azure = exchange.scope["path"].endswith(SCORE)
    body = encode(azure_body(error) if azure else openai_body(error))
    length = (b"content-length", str(len(body)).encode())
    await exchange.start(error.status, [JSON_TYPE, length, *response_headers(error)])
    await exchange.body(body)
