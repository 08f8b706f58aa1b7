"""Phoundry: fine-tune a small language model on your data and chat with it, on your own machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phoundry.version import __version__

if TYPE_CHECKING:
    from phoundry.client import Client

__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> Any:
    # `import phoundry` stays instant: the client is loaded when it is first asked for.
    if name == "Client":
        from phoundry.client import Client

        return Client
    raise AttributeError(f"module 'phoundry' has no attribute '{name}'")
