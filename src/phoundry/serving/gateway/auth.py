"""Keys: only their SHA-256 is known here."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping

from phoundry.errors import Unauthenticated
from phoundry.serving.asgi import Scope

_NONE: frozenset[str] = frozenset()


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

    def __init__(self, hashes: Mapping[str, Iterable[str]]) -> None:
        """`hashes`: the hexadecimal key hashes of each endpoint."""
        owners: dict[bytes, set[str]] = {}
        for endpoint, values in hashes.items():
            for value in values:
                owners.setdefault(bytes.fromhex(value), set()).add(endpoint)
        self._owners = {key: (key, frozenset(names)) for key, names in owners.items()}

    def endpoints_of(self, key: bytes) -> frozenset[str]:
        digest = hashlib.sha256(key).digest()
        known, names = self._owners.get(digest, (bytes(32), _NONE))
        return names if hmac.compare_digest(known, digest) else _NONE


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
        remedy="`phoundry endpoint keys NAME` shows the keys that do.",
    )
