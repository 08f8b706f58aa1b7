"""The fixtures of the services: a journey walks over them."""

from __future__ import annotations

from tests.services.conftest import chats, context, fleet

__all__ = ["chats", "context", "fleet"]
