"""Mirroring: copies that the caller cannot see, feel or wait for."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

from phoundry.serving.gateway.auth import hash_key
from phoundry.serving.gateway.routes import DeploymentRoute, EndpointRoute
from tests.serving.inside import (
    CHAT,
    KEY,
    FakeReplica,
    Inside,
    Talk,
    break_off,
    hang,
    replicas,
    until,
)


def mirrored(
    live: FakeReplica, *mirrors: FakeReplica, percent: int = 100, **settings: Any
) -> dict[str, EndpointRoute]:
    """`blue` has all traffic, `next` gets copies."""
    routes = {
        "blue": DeploymentRoute([live.route]),
        "next": DeploymentRoute([mirror.route for mirror in mirrors], **settings),
    }
    return {"faq": EndpointRoute([hash_key(KEY)], {"blue": 100}, routes, mirror={"next": percent})}


def copies(inside: Inside) -> list[dict[str, Any]]:
    return [record for record in inside.records() if record.get("mirror")]


def test_a_copy_is_the_request_and_its_answer_goes_nowhere(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("live", "next") as (live, mirror):
            inside.use(mirrored(live, mirror))
            reply = await inside.ask(body=b'{"n": 1}', x_request_id="one")
            assert reply.json() == {"output": "live"}
            assert reply.headers["azureml-model-deployment"] == "blue"
            await until(lambda: copies(inside))
            assert mirror.seen == live.seen == [b'{"n": 1}']
            (copy,) = copies(inside)
            assert (copy["deployment"], copy["status"], copy["request"]) == ("next", 200, "one")
            live_records = [r for r in inside.records() if not r.get("mirror")]
            assert [r["deployment"] for r in live_records] == ["blue"]

    asyncio.run(main())


def test_the_copy_leaves_after_the_request(tmp_path: Path) -> None:
    order: list[str] = []

    async def note(talk: Talk) -> None:
        order.append(talk.replica.name)
        talk.send(b"{}")

    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("live", "next", manner=note) as (live, mirror):
            inside.use(mirrored(live, mirror))
            for _ in range(5):
                await inside.ask()
                await until(lambda: len(order) % 2 == 0)
            assert order == ["live", "next"] * 5

    asyncio.run(main())


def test_nothing_that_a_mirror_does_changes_the_answer(tmp_path: Path) -> None:
    async def fail(talk: Talk) -> None:
        talk.send(b'{"error": {"message": "no"}}', 500)

    async def main() -> None:
        for manner, status in ((hang, None), (break_off, 424), (fail, 424)):
            inside = Inside(tmp_path / manner.__name__)
            inside.folder.mkdir()
            async with replicas("live", "next") as (live, mirror):
                mirror.manner = manner
                inside.use(mirrored(live, mirror))
                async with asyncio.timeout(20):
                    reply = await inside.ask()
                assert (reply.status, reply.json()) == (200, {"output": "live"})
                await until(lambda mirror=mirror: mirror.seen)
                if status:
                    await until(lambda inside=inside: copies(inside))
                    assert [copy["status"] for copy in copies(inside)] == [status]
                await inside.app.close()

    asyncio.run(main())


def test_a_copy_has_the_mirrors_time_and_no_more(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("live", "next") as (live, mirror):
            mirror.manner = hang
            inside.use(mirrored(live, mirror, timeout_ms=50))
            assert (await inside.ask()).status == 200
            await until(lambda: copies(inside))
            assert copies(inside)[0]["status"] == 408
            await until(lambda: mirror.hung_up)

    asyncio.run(main())


def test_a_full_mirror_drops_copies_and_counts_them(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("live", "next") as (live, mirror):
            mirror.manner = hang
            inside.use(mirrored(live, mirror, max_concurrent=2))
            for _ in range(10):
                assert (await inside.ask()).status == 200
            await until(lambda: len(mirror.seen) == 2)
            limiter = inside.router.endpoints["faq"].deployments["next"].limiter
            assert (limiter.running, limiter.waiting) == (2, 2)
            counted = "".join(inside.page.metrics.text())
            (line,) = [n for n in counted.splitlines() if n.startswith("phoundry_gateway_mirror")]
            assert line.endswith(" 6")
            await inside.app.close()
            assert limiter.in_flight == 0

    asyncio.run(main())


def test_a_mirror_without_a_replica_is_not_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path, patience=60)
        async with replicas("live") as (live,):
            inside.use(mirrored(live, asleep=True))
            assert (await inside.ask()).status == 200
            report = inside.router.load.report()
            assert report
            assert report["wanted"] == []  # copies wake nobody
            assert list(report["deployments"]) == ["faq/blue"]

    asyncio.run(main())


def test_a_request_that_names_a_deployment_is_not_copied(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("live", "next") as (live, mirror):
            inside.use(mirrored(live, mirror))
            ask = json.dumps({"messages": [], "model": "faq/blue"}).encode()
            assert (await inside.ask(CHAT, ask)).status == 200
            assert (await inside.ask(azureml_model_deployment="blue")).status == 200
            pinned = await inside.ask(azureml_model_deployment="next")
            assert pinned.json() == {"output": "next"}  # a mirror may be asked by its name
            assert len(mirror.seen) == 1
            assert copies(inside) == []

    asyncio.run(main())


def test_streams_are_copied_to_their_end(tmp_path: Path) -> None:
    async def stream(talk: Talk) -> None:
        talk.begin_stream()
        for number in range(3):
            talk.piece(b"data: %d\n\n" % number)
        talk.piece(b"")

    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("live", "next", manner=stream) as (live, mirror):
            inside.use(mirrored(live, mirror))
            reply = await inside.ask(CHAT, b'{"model": "faq"}')
            assert reply.content == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
            await until(lambda: copies(inside))
            assert copies(inside)[0]["status"] == 200

    asyncio.run(main())


def test_the_share_of_copies_is_the_mirrors_percent(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path)
        inside.router.chance.seed(7)
        async with replicas("live", "next") as (live, mirror):
            inside.use(mirrored(live, mirror, percent=20, max_concurrent=64))
            for _ in range(1000):
                await inside.ask()
            await until(lambda: len(copies(inside)) == len(mirror.seen))
            seen = Counter(copied=len(mirror.seen), not_copied=1000 - len(mirror.seen))
            expected = {"copied": 200, "not_copied": 800}
            # Chi-square with one degree of freedom; 10.8 is passed once in 1,000 runs.
            assert sum((seen[k] - n) ** 2 / n for k, n in expected.items()) < 10.8, seen

    asyncio.run(main())
