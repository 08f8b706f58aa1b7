"""`AsyncClient`: the same nouns and verbs to await. All but four modules are generated from the
synchronous ones by `python -m phoundry.client.generate`."""

from __future__ import annotations

from phoundry.client.aio.client import AsyncClient

__all__ = ["AsyncClient"]
