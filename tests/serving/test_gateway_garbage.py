"""What ends leaves by itself: the collector passes over what was open when a table was frozen."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phoundry.serving.gateway.connection import Connection
from phoundry.serving.gateway.load import Load
from phoundry.serving.gateway.routing import Deployment
from phoundry.serving.gateway.upstream import Upstream
from tests.serving.inside import Talk, hang, replicas, until
from tests.serving.test_gateway_clients import door, post, reply


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


def collected(gone: weakref.ref[Any]) -> bool:
    gc.collect()  # of what came after the freeze alone
    return gone() is None


@pytest.mark.parametrize("ahead", [1, 3])
def test_a_clients_connection_goes_with_its_end(tmp_path: Path, ahead: int) -> None:
    async def main() -> None:
        async with door(tmp_path) as (gateway, replica):
            reader, writer = await gateway.knock(post())
            assert (await reply(reader))[0] == 200
            (gone,) = [weakref.ref(connection) for connection in gateway.connections]
            gc.freeze()
            replica.manner = hang
            writer.write(post() * ahead)
            await until(lambda: len(replica.seen) == 2)
            writer.close()
            await until(lambda: collected(gone))

    asyncio.run(main())


async def half(talk: Talk) -> None:
    talk.writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n{")
    await talk.writer.drain()
    talk.writer.transport.abort()


def test_a_replicas_connection_goes_with_its_end() -> None:
    async def ask(upstream: Upstream) -> weakref.ref[Connection]:
        connection = await upstream.connect()
        gc.freeze()
        try:
            await connection.ask(upstream.request("/score", "1", b"{}"))
        except Exception:  # noqa: BLE001 - how it ends is not the matter
            pass
        finally:
            upstream.release(connection)
        return weakref.ref(connection)

    async def main() -> None:
        async with replicas("whole") as (replica,):
            upstream = Upstream(replica.route.url, "t")
            gone = await ask(upstream)
            idle = gone()
            assert idle is not None
            assert idle.body == b""  # it holds no answer while it is idle
            del idle
            upstream.retire()
            await until(lambda: collected(gone))
        async with replicas("half", manner=half) as (replica,):
            gone = await ask(Upstream(replica.route.url, "t"))
            await until(lambda: collected(gone))

    asyncio.run(main())


def test_a_deployment_goes_with_its_table() -> None:
    deployment = Deployment("faq", "blue", Load(), 0.0)
    gone = weakref.ref(deployment)
    gc.freeze()
    deployment.remove()
    del deployment
    assert collected(gone)
