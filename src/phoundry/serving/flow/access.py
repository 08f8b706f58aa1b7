"""Who may ask a flow that is served.

Without a key the server is on loopback only, and Host and Origin must be this machine's. With one,
every request but `/health` carries it: as a bearer, or as the password that a browser asks for.
"""

from __future__ import annotations

import base64
import binascii
import hmac

from phoundry.errors import Forbidden, Unauthenticated
from phoundry.serving.asgi import Scope, header
from phoundry.serving.hosts import HostCheck

OPEN = frozenset({"/health", "/health/live", "/health/ready"})


class Access:
    """Raises for requests that may not be answered. `names` are the server's own, besides those of
    loopback."""

    def __init__(self, key: str | None, names: tuple[str, ...] = ()) -> None:
        self._hosts = HostCheck(*names)
        self._key = key.encode() if key else None

    def check(self, scope: Scope) -> None:
        """
        Raises:
            Forbidden: a foreign Host, or a page of another site.
            Unauthenticated: no key, or another one.
        """
        if self._key is None:
            self._hosts.check(scope)
            return
        origin = header(scope, b"origin")
        if origin is not None and origin.partition(b"://")[2] != header(scope, b"host"):
            raise Forbidden("This server answers no pages of other sites.")
        if scope["path"] in OPEN:
            return
        presented = header(scope, b"authorization") or b""
        if not _fits(presented, self._key):
            raise Unauthenticated(
                "The key is missing or wrong.", remedy="Send it as: Authorization: Bearer KEY"
            )


def _fits(presented: bytes, key: bytes) -> bool:
    if presented[:6].lower() == b"basic ":
        try:
            _, _, presented = base64.b64decode(presented[6:], validate=True).partition(b":")
        except binascii.Error:
            return False
    elif presented[:7].lower() == b"bearer ":
        presented = presented[7:]
    return hmac.compare_digest(presented, key)
