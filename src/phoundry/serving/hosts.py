"""Which web pages and names may reach a loopback server: its own (DNS rebinding, ShadowRay)."""

from __future__ import annotations

import re
from collections.abc import Container

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

    def check(self, scope: Scope, others: Container[bytes] = ()) -> bytes | None:
        """The request's Origin, if it has one; it is this machine's, or one of `others`.

        Raises:
            Forbidden: a foreign Host or Origin, or no Host.
        """
        host_seen, origin = False, None
        for name, value in scope["headers"]:  # every one: of two Hosts both must be ours
            if name == b"host":
                host_seen = True
                if value not in self._passed:
                    self._check(value, _HOST, "Host")
            elif name == b"origin":
                origin = value
                if value not in self._passed and value not in others:
                    self._check(value, _ORIGIN, "Origin")
        if not host_seen:
            raise Forbidden("The request has no Host header.")
        return origin

    def own(self, origin: bytes) -> bool:
        """Whether an Origin is this machine's."""
        match = _ORIGIN.fullmatch(origin.decode("latin-1"))
        return match is not None and self._is_own(match)

    def _is_own(self, match: re.Match[str]) -> bool:
        return match[1].strip("[]").lower() in self._allowed

    def _check(self, value: bytes, pattern: re.Pattern[str], what: str) -> None:
        text = value.decode("latin-1")
        match = pattern.fullmatch(text)
        if match is None or not self._is_own(match):
            raise Forbidden(
                f"The {what} '{text[:100]}' is not of this machine.",
                remedy="Use the address that `phoundry status` prints.",
            )
        if len(self._passed) < 64:
            self._passed.add(value)
