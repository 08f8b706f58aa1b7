"""A replica that answers every request at once, at the lowest price that Python allows.

    python -m benchmarks.gateway.stub PORT

Its answer is a whole chat completion, so that a gateway that reads answers finds one.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

import uvloop

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "stub",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello! How can I help you today?"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
    }
).encode()
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER,
)


class Stub(asyncio.Protocol):
    """Counts whole requests by their length; reads nothing else of them."""

    def __init__(self) -> None:
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        held = self._held + data
        while (end := held.find(b"\r\n\r\n")) >= 0:
            size = end + 4 + length(held[:end])
            if len(held) < size:
                break
            held = held[size:]
            self._transport.write(WHOLE)
        self._held = held


def length(head: bytes) -> int:
    """The content-length of a head; 0 where there is none."""
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
