"""`Client`: every noun and verb from Python; over HTTP or in this process."""

from __future__ import annotations

from phoundry.client.client import Client

__all__ = ["Client"]
