"""A request wakes a sleeping deployment; the load report says who is busy and who waits."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from phoundry.serving.gateway.load import keep_reporting
from tests.serving.inside import Inside, hang, replicas, until


async def reported(path: Path) -> dict[str, Any]:
    await until(path.exists)
    return json.loads(path.read_bytes())


def test_a_request_wakes_a_deployment_and_waits_for_its_replica(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path, patience=20)
        path = tmp_path / "load.json"
        reporting = asyncio.create_task(keep_reporting(inside.router.load, path))
        inside.serve(asleep=True)
        await asyncio.sleep(0.01)
        assert not path.exists()  # nothing has happened: nothing is written
        asking = [asyncio.create_task(inside.ask()) for _ in range(3)]
        report = await reported(path)
        assert report["wanted"] == ["faq/blue"]
        assert report["deployments"]["faq/blue"]["running"] == 3
        async with replicas("woken") as (replica,):
            inside.serve(replica)
            assert {r.content for r in await asyncio.gather(*asking)} == {b'{"output": "woken"}'}
            await until(lambda: json.loads(path.read_bytes())["wanted"] == [])
        reporting.cancel()

    asyncio.run(main())


def test_the_wish_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        inside = Inside(tmp_path, patience=20)
        path = tmp_path / "load.json"
        async with replicas("awake") as (replica,):
            inside.serve(replica)
            await inside.ask()
            reporting = asyncio.create_task(keep_reporting(inside.router.load, path))
            await reported(path)  # the next regular report is an hour away
            inside.serve(asleep=True)
            asking = asyncio.create_task(inside.ask())
            await until(lambda: json.loads(path.read_bytes())["wanted"])
            inside.serve(replica)
            assert (await asking).status == 200
        reporting.cancel()

    monkeypatch.setattr("phoundry.serving.gateway.load.REPORT_SECONDS", 3600)
    asyncio.run(main())


def test_where_nobody_wakes_it_a_request_ends_with_503(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path, patience=0.1)
        inside.serve(asleep=True)
        reply = await inside.ask()
        assert reply.status == 503
        assert reply.headers["retry-after"] == "1"
        report = inside.router.load.report()
        assert report
        assert report["wanted"] == []  # nobody waits any more

    asyncio.run(main())


def test_once_it_is_being_woken_requests_wait_for_as_long_as_they_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large model takes longer than the patience with a control plane that does nothing."""
    later = 0.0

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return time.monotonic() + later

    async def main() -> None:
        nonlocal later
        inside = Inside(tmp_path, patience=20)
        inside.serve(asleep=True)
        early = asyncio.create_task(inside.ask())
        limiter = inside.router.endpoints["faq"].deployments["blue"].limiter
        await until(lambda: limiter.running)  # it waits for a replica
        inside.serve(asleep=False)  # it shall have a replica, and has none yet
        late = asyncio.create_task(inside.ask())
        await until(lambda: limiter.running == 2)
        later = 30.0  # beyond the patience
        inside.serve(asleep=False)  # whoever waits looks at the clock again
        await asyncio.sleep(0.01)
        assert not early.done()
        assert not late.done()
        async with replicas("large") as (replica,):
            inside.serve(replica)
            assert {r.status for r in await asyncio.gather(early, late)} == {200}

    monkeypatch.setattr("phoundry.serving.gateway.replicas.time", Clock)
    asyncio.run(main())


def test_a_waking_that_comes_to_nothing_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        inside = Inside(tmp_path, patience=0.01)
        inside.serve(asleep=True)
        began = asyncio.get_running_loop().time()
        inside.serve(asleep=False)
        assert (await inside.ask()).status == 503
        assert asyncio.get_running_loop().time() - began >= 0.05
        assert (await inside.ask()).status == 503

    monkeypatch.setattr("phoundry.serving.gateway.replicas.WAKING_SECONDS", 0.06)
    asyncio.run(main())


def test_waiting_for_a_replica_counts_as_time_of_the_request(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path, patience=20)
        inside.serve(asleep=True, timeout_ms=50)
        reply = await inside.ask()
        assert reply.status == 408
        assert "0.05 s" in reply.json()["error"]["message"]

    asyncio.run(main())


def test_a_sleeping_deployment_takes_no_more_requests_than_one_awake(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path, patience=0.1)
        inside.serve(asleep=True, max_concurrent=2)
        replies = await asyncio.gather(*(inside.ask() for _ in range(6)))
        assert sorted(reply.status for reply in replies) == [429, 429, 503, 503, 503, 503]

    asyncio.run(main())


def test_the_report_counts_what_runs_and_what_waits(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path)
        load = inside.router.load
        assert load.report() is None
        async with replicas("busy", manner=hang) as (replica,):
            inside.serve(replica, max_concurrent=2)
            before = time.time()
            asking = [asyncio.create_task(inside.ask()) for _ in range(3)]
            await until(lambda: len(replica.seen) == 2)
            report = load.report()
            assert report
            busy = report["deployments"]["faq/blue"]
            assert (busy["running"], busy["waiting"]) == (2, 1)
            assert before - 0.01 <= busy["last_request"] <= time.time()
            assert load.report() is None  # nothing has changed since
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            report = load.report()
            assert report
            assert report["deployments"]["faq/blue"]["running"] == 0
            inside.use({})
            report = load.report()
            assert report
            assert report["deployments"] == {}  # what is deleted is forgotten

    asyncio.run(main())
