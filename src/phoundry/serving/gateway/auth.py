"""Keys, and tokens that expire: only their SHA-256 is known here."""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections.abc import Callable, Iterable, Mapping

from phoundry.errors import Unauthenticated
from phoundry.serving.asgi import Scope

_NONE: frozenset[str] = frozenset()
_NOBODY: tuple[bytes, frozenset[str], float] = (bytes(32), _NONE, 0)


def hash_key(key: str) -> str:
    """What the routing table holds of a key: hexadecimal SHA-256.

    Keys are random with 256 bits, so a plain hash cannot be searched; a password would need more.
    """
    return hashlib.sha256(key.encode()).hexdigest()


class KeyIndex:
    """From a presented key to the names of the endpoints that it opens, in constant time.

    The dictionary is looked up by the key's hash: what its timing tells is about a hash that the
    caller cannot steer, and the found entry is compared with `compare_digest` besides.
    """

    def __init__(
        self,
        hashes: Mapping[str, Iterable[str]],
        tokens: Mapping[str, Mapping[str, int]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`hashes`: the hexadecimal key hashes of each endpoint. `tokens`: those of its tokens,
        each with the second since the epoch from which on it opens nothing."""
        self._clock = clock
        owners = _by_hash(hashes)
        self._owners = {key: (key, names, math.inf) for key, names in owners.items()}
        for endpoint, of in (tokens or {}).items():
            for value, ends in of.items():
                key = bytes.fromhex(value)
                self._owners.setdefault(key, (key, frozenset({endpoint}), ends))

    def endpoints_of(self, key: bytes) -> frozenset[str]:
        digest = hashlib.sha256(key).digest()
        known, names, ends = self._owners.get(digest, _NOBODY)
        if not hmac.compare_digest(known, digest):
            return _NONE
        return names if ends == math.inf or self._clock() < ends else _NONE

    def refusal(self, key: bytes) -> Unauthenticated:
        """Why `key`, which opens nothing, does not."""
        _, names, ends = self._owners.get(hashlib.sha256(key).digest(), _NOBODY)
        if not names or self._clock() < ends:
            return wrong_key()
        (name,) = names
        return Unauthenticated(
            "This token has expired.", remedy=f"`phoundry endpoint token {name}` gives a new one."
        )

    def revoked_since(self, before: KeyIndex) -> dict[bytes, frozenset[str]]:
        """By hash: what keys opened in `before` and open no more. Tokens are not among them: they
        end by themselves, and what they have let in goes on."""
        lost = {
            digest: names - self._owners.get(digest, _NOBODY)[1]
            for digest, (_, names, ends) in before._owners.items()
            if ends == math.inf
        }
        return {digest: names for digest, names in lost.items() if names}


def _by_hash(hashes: Mapping[str, Iterable[str]]) -> dict[bytes, frozenset[str]]:
    owners: dict[bytes, set[str]] = {}
    for endpoint, values in hashes.items():
        for value in values:
            owners.setdefault(bytes.fromhex(value), set()).add(endpoint)
    return {key: frozenset(names) for key, names in owners.items()}


def presented_key(scope: Scope) -> bytes:
    """The key of `Authorization: Bearer KEY`, or of `api-key: KEY`.

    Raises:
        Unauthenticated: there is none.
    """
    other = b""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() == b"bearer" and key.strip():
                return key.strip()
        elif name == b"api-key":
            other = value.strip()
    if not other:
        raise Unauthenticated(
            "The request carries no key.",
            remedy="Send the header 'Authorization: Bearer KEY'; "
            "`phoundry endpoint keys NAME` shows the key.",
        )
    return other


def wrong_key() -> Unauthenticated:
    return Unauthenticated(
        "This key opens no endpoint.",
        remedy="`phoundry endpoint keys NAME` shows the keys that do; where the endpoint has "
        "auth_mode aml_token, `phoundry endpoint token NAME` gives a token.",
    )
