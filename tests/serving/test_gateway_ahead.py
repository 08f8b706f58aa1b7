"""Clients that send requests ahead of their answers: how many are kept, and what they hold."""

from __future__ import annotations

import asyncio
from pathlib import Path

from phoundry.serving.heads import AHEAD_LIMIT
from tests.serving.inside import until
from tests.serving.test_gateway_clients import door, reply

LOOK = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


def test_what_is_sent_ahead_is_read_as_it_is_answered(tmp_path: Path) -> None:
    async def main() -> None:
        async with door(tmp_path) as (gateway, _):
            reader, writer = await gateway.knock(LOOK * AHEAD_LIMIT)
            while not (gateway.connections and gateway.connections[0].pipeline):
                await asyncio.sleep(0)
            writer.write(LOOK * AHEAD_LIMIT)  # too many, if it were read now
            for _ in range(2 * AHEAD_LIMIT):
                assert (await reply(reader))[0] == 200
            writer.close()

    asyncio.run(main())


def test_who_sends_more_ahead_than_is_kept_is_hung_up_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with door(tmp_path) as (gateway, _):
            _, writer = await gateway.knock(LOOK * 5000)
            while not (gateway.connections and gateway.connections[0].pipeline):
                await asyncio.sleep(0)
            assert len(gateway.connections[0].pipeline) <= AHEAD_LIMIT
            await until(lambda: not gateway.connections)
            writer.close()

    asyncio.run(main())
