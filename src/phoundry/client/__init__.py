"""`Client` and `AsyncClient`: every noun and verb from Python; over HTTP or in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phoundry.client.client import Client

if TYPE_CHECKING:
    from phoundry.client.aio import AsyncClient

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    # A command needs no event loop, and loads none.
    if name == "AsyncClient":
        from phoundry.client.aio import AsyncClient

        return AsyncClient
    raise AttributeError(f"module 'phoundry.client' has no attribute '{name}'")
