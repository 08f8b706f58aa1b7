"""Which web pages may call which endpoint, and read its answers (CORS).

A browser tells in `Origin` whose page sends a request. Pages of this machine may send, as before;
pages of elsewhere only where an endpoint names them in `allowed_origins`. A page that is named is
told so in the answer, errors included. Nothing here asks for cookies: a caller shows a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from phoundry.errors import Forbidden
from phoundry.serving.asgi import Headers, Scope, header
from phoundry.serving.gateway.exchange import Exchange
from phoundry.serving.hosts import HostCheck

ANY = "*"
_METHODS = b"GET, POST"
_USUAL = b"authorization, api-key, content-type, azureml-model-deployment, x-request-id"
_EXPOSED = (
    b"x-request-id, azureml-model-deployment, retry-after, "
    b"ms-azureml-model-error-statuscode, ms-azureml-model-error-reason"
)
# Names of headers as a preflight lists them; the client libraries in browsers have many of theirs.
_NAMES = re.compile(rb"[A-Za-z0-9-]{1,64}( ?, ?[A-Za-z0-9-]{1,64}){0,63}")
# An echoed value must be harmless in a header; "null" is a page without an address.
_ORIGIN = re.compile(rb"[\x21-\x2b\x2d-\x7e]{1,256}")
_AGE = b"600"  # seconds that a browser may keep the answer to a preflight


class Origins:
    """The origins that the endpoints of one table allow."""

    def __init__(self, allowed: Mapping[str, Iterable[str]]) -> None:
        """`allowed`: the origins of each endpoint; `*` is any."""
        named = {
            name: frozenset(_normal(each.encode()) for each in of) for name, of in allowed.items()
        }
        self._of = {name: origins for name, origins in named.items() if origins}
        self._all = frozenset[bytes]().union(*self._of.values())

    def __contains__(self, origin: object) -> bool:
        """Whether some endpoint allows `origin` (a header's value, as bytes)."""
        return isinstance(origin, bytes) and bool(self._all) and _within(self._all, origin)

    def allowing(self, names: Iterable[str], origin: bytes) -> frozenset[str]:
        """Those of the endpoints `names` that allow `origin`."""
        return frozenset(name for name in names if _within(self._of.get(name, ()), origin))


async def greeted(exchange: Exchange, origin: bytes, origins: Origins) -> bool:
    """Let the page read what will be answered, where some endpoint allows it.

    Returns:
        Whether all is answered: it was a preflight, by which a browser asks before it sends. That
        carries no key, so the answer tells no more than that some endpoint allows the page.
    """
    if origin not in origins:
        return False
    greeting = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
    exchange.more_headers = [*greeting, (b"access-control-expose-headers", _EXPOSED)]
    scope = exchange.scope
    if scope["method"] != "OPTIONS" or header(scope, b"access-control-request-method") is None:
        return False
    exchange.more_headers = greeting
    await exchange.start(204, _permissions(scope))
    await exchange.body(b"")
    return True


def _permissions(scope: Scope) -> Headers:
    wanted = header(scope, b"access-control-request-headers") or b""
    headers = [
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", wanted if _NAMES.fullmatch(wanted) else _USUAL),
        (b"access-control-max-age", _AGE),
    ]
    if header(scope, b"access-control-request-private-network") == b"true":
        headers.append((b"access-control-allow-private-network", b"true"))
    return headers


def narrowed(
    exchange: Exchange, opened: frozenset[str], origin: bytes, origins: Origins, hosts: HostCheck
) -> frozenset[str]:
    """Those of the endpoints that a key opened which the page may call.

    Raises:
        Forbidden: none of them; the page cannot read that either.
    """
    allowing = origins.allowing(opened, origin)
    if allowing:
        return allowing
    exchange.more_headers = []
    if hosts.own(origin):
        return opened  # a page of this machine: it may send, its browser keeps the answer from it
    raise Forbidden(
        "The endpoint of this key does not allow pages of this origin.",
        remedy="`phoundry endpoint update NAME --allow-origin URL` allows one.",
    )


def _within(origins: Iterable[bytes], origin: bytes) -> bool:
    if not _ORIGIN.fullmatch(origin):
        return False
    return ANY.encode() in origins or _normal(origin) in origins


def _normal(origin: bytes) -> bytes:
    """As browsers write it: in lower case, without the scheme's own port."""
    scheme, colon, rest = origin.lower().partition(b"://")
    own = {b"http": b":80", b"https": b":443"}.get(scheme, b" ")
    return scheme + colon + rest.removesuffix(own)
