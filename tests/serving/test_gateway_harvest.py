"""What is asked of replicas: an error counts nothing, and what is deleted is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from phoundry.serving.gateway.harvest import TOKENS, Harvest
from phoundry.serving.gateway.load import Load
from phoundry.serving.gateway.routes import (
    DeploymentRoute,
    EndpointRoute,
    ReplicaRoute,
    RoutingTable,
)
from phoundry.serving.gateway.routing import Deployment, Router
from phoundry.serving.gateway.upstream import Upstream
from tests.serving.prometheus import parse

SAMPLE = 'phoundry_replica_tokens_total{dialect="chat",gen_ai_token_type="input"} 7\n'


def test_an_error_of_a_replica_counts_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    # However slow this machine is, no look is given up.
    monkeypatch.setattr("phoundry.serving.gateway.harvest._WAIT_SECONDS", 60.0)
    answers = iter([200, 500, 200])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            status = next(answers)
            text = SAMPLE.encode() if status == 200 else b"it failed"
            head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(text)}\r\n\r\n"
            writer.write(head.encode() + text)

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        router, harvest = Router(), Harvest()
        route = DeploymentRoute([ReplicaRoute(address, "t")])
        router.update(RoutingTable(1, {"faq": EndpointRoute(deployments={"blue": route})}))
        for _ in range(3):
            await harvest.gather(router.endpoints.values())
        family = parse("".join(harvest.text(None)))[TOKENS]
        assert family.of(gen_ai_token_type="input") == 7
        assert next(answers, None) is None
        router.update(RoutingTable(2, {}))
        server.close()

    asyncio.run(main())


def test_what_is_deleted_is_forgotten() -> None:
    harvest = Harvest()
    for name in ("faq", "other"):
        harvest.add(name, "blue", Upstream("http://127.0.0.1:1", "t"), SAMPLE)
    harvest.forget(["other"])
    text = "".join(harvest.text(None))
    assert "other" in text
    assert "faq" not in text


def test_a_request_that_ends_after_its_deployment_leaves_no_report() -> None:
    load = Load()
    deployment = Deployment("faq", "blue", load, 0.0)
    deployment.touch()
    deployment.remove()
    deployment.touch()  # its last request ends
    report = load.report()
    assert report is not None
    assert report["deployments"] == {}
