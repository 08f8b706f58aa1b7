"""Bodies: what changes while one arrives holds for its request; odd ones are refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from phoundry.serving.gateway.auth import hash_key
from phoundry.serving.gateway.routes import DeploymentRoute, EndpointRoute
from tests.serving.inside import CHAT, KEY, Inside, until
from tests.serving.test_gateway_clients import door, post

OTHER = [hash_key("another")]


def test_half_a_surrogate_as_model_is_refused_as_any_other(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path)
        inside.use({"faq": EndpointRoute([hash_key(KEY)])})
        reply = await inside.ask(CHAT, b'{"model": "\\ud800", "messages": []}')
        assert reply.status == 404
        assert "\ud800" in reply.json()["error"]["message"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("keys", "deployment", "status"),
    [([hash_key(KEY)], "green", 200), (OTHER, "blue", 401)],
    ids=["the deployment is another", "the key is revoked"],
)
def test_a_table_that_comes_with_half_a_body(
    tmp_path: Path, keys: list[str], deployment: str, status: int
) -> None:
    async def main() -> None:
        async with door(tmp_path) as (gateway, replica):
            whole = post(b'{"n": 1}')
            reader, writer = await gateway.knock(whole[:-2])
            await until(lambda: gateway.state.tasks)
            await asyncio.sleep(0)  # the task has its first turn: it waits for the body
            route = DeploymentRoute([replica.route])
            gateway.inside.use({"faq": EndpointRoute(keys, {deployment: 100}, {deployment: route})})
            writer.write(whole[-2:])
            async with asyncio.timeout(20):
                head = await reader.readuntil(b"\r\n\r\n")
            assert int(head.split()[1]) == status
            named = b"azureml-model-deployment: " + deployment.encode()
            assert (named in head.lower()) == (status == 200)
            writer.close()

    asyncio.run(main())
