"""Phoundry: fine-tune a small language model on your data and chat with it, on your own machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phoundry.version import __version__

if TYPE_CHECKING:
    from phoundry.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    # `import phoundry` stays instant: a client is loaded when it is first asked for.
    if name in ("AsyncClient", "Client"):
        from phoundry import client

        return getattr(client, name)
    raise AttributeError(f"module 'phoundry' has no attribute '{name}'")
