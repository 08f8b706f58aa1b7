"""Clients of the control plane that are slow: the gateway's bounds, with room for large files.

A request of the gateway's has megabytes at most, and a minute. Here data sets arrive, which may
take as long as they like if they come at a rate that every disk and every tunnel has. And who
follows a log in a pager reads nothing for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from socket import socket

import uvicorn

from phoundry.serving.heads import refusal
from phoundry.serving.listen import expire
from phoundry.serving.protocol import BODY_SECONDS, HEAD_SECONDS, WatchedConnection

BYTES_A_SECOND = 16 * 1024  # that a body must have on average, beyond its first minute


class PatientConnection(WatchedConnection):
    """A connection whose bodies may be large. It has a minute, and more for all that has come."""

    unread_seconds = 3600.0
    too_slow = refusal(
        b"408 Request Timeout",
        "RequestTimeout",
        f"The request did not arrive in time: its headers have {HEAD_SECONDS:g} s, its body "
        f"{BODY_SECONDS:g} s and one more for each {BYTES_A_SECOND:,} bytes.",
    )

    def expire(self, now: float) -> None:
        if self.flow.read_paused and self._arriving is not None:
            # It is we who are slow: what has come is being written, and no more is taken.
            self._arriving = now
        super().expire(now)

    def on_body(self, body: bytes) -> None:
        self._seconds += len(body) / BYTES_A_SECOND
        super().on_body(body)


class Server(uvicorn.Server):
    """uvicorn's, whose connections are looked at each second."""

    async def serve(self, sockets: Sequence[socket] | None = None) -> None:
        expiring = asyncio.create_task(expire(self.server_state.connections))
        try:
            await super().serve(list(sockets) if sockets is not None else None)
        finally:
            expiring.cancel()
