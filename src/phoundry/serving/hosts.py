"""Which web pages and names may reach a loopback server: its own (DNS rebinding, ShadowRay)."""

from __future__ import annotations

import re

from phoundry.errors import Forbidden
from phoundry.serving.asgi import Scope
from phoundry.serving.listen import LOOPBACK

# By hand and whole: urllib finds the host "::1" in "[::1].evil.example".
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?")
_ORIGIN = re.compile(rf"https?://{_HOST.pattern}")


class HostCheck:
    """Refuses requests whose Host or Origin is not this machine's own name."""

    def __init__(self, *others: str) -> None:
        """`others`: names that are this server's own besides those of loopback."""
        self._allowed = LOOPBACK | {name.lower() for name in others}
        # The hot path: values that have passed before, such as b"127.0.0.1:7411".
        self._passed: set[bytes] = set()

    def check(self, scope: Scope) -> None:
        """Raises Forbidden for a foreign Host or Origin, or where Host is missing."""
        host_seen = False
        for name, value in scope["headers"]:  # every one: of two Hosts both must be ours
            if name == b"host":
                host_seen = True
                if value not in self._passed:
                    self._check(value, _HOST, "Host")
            elif name == b"origin" and value not in self._passed:
                self._check(value, _ORIGIN, "Origin")
        if not host_seen:
            raise Forbidden("The request has no Host header.")

    def _check(self, value: bytes, pattern: re.Pattern[str], what: str) -> None:
        text = value.decode("latin-1")
        match = pattern.fullmatch(text)
        name = match[1].strip("[]").lower() if match else ""
        if name not in self._allowed:
            raise Forbidden(
                f"The {what} '{text[:100]}' is not of this machine.",
                remedy="Use the address that `phoundry status` prints.",
            )
        if len(self._passed) < 64:
            self._passed.add(value)
