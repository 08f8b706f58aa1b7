"""The gateway's housekeeping where the disk refuses: said once, and tried again."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from phoundry.files import read_json
from phoundry.serving.gateway import reload
from phoundry.serving.gateway.load import keep_reporting
from phoundry.serving.gateway.reload import Reloader, keep
from phoundry.serving.gateway.routes import EndpointRoute, RoutingTable, write_routes
from phoundry.serving.gateway.routing import Deployment
from phoundry.spool import Spool
from tests.serving.inside import Inside, until


class Disk:
    """Full for these files, as long as they are named."""

    def __init__(self) -> None:
        self.full: set[str] = set()
        self.refused: set[str] = set()

    def look(self, path: Path) -> None:
        if path.name in self.full:
            self.refused.add(path.name)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk()
    opening = Path.open
    replacing = Path.replace

    def opened(path: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if mode == "a":
            found.look(path)
        return opening(path, mode, *arguments, **named)

    def replaced(path: Path, target: Any) -> Path:
        found.look(Path(target))
        return replacing(path, target)

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(Path, "replace", replaced)
    monkeypatch.setattr(reload, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(reload, "FLUSH_SECONDS", 0.002)
    return found


class Follower:
    """A table on disk and the gateway that follows it."""

    def __init__(self, folder: Path) -> None:
        self.inside = Inside(folder)
        self.path = folder / "routes.json"
        self.loaded = folder / "loaded.json"
        self.spool = Spool(folder / "spool.jsonl")
        self.reloader = Reloader(self.path, self.inside.router, self.spool, self.loaded)

    def write(self, generation: int, **endpoints: EndpointRoute) -> None:
        write_routes(self.path, RoutingTable(generation, endpoints))

    def in_force(self) -> int:
        return int(read_json(self.loaded)["generation"]) if self.loaded.exists() else -1


def test_a_disk_that_is_full_for_a_moment_stops_nothing(
    tmp_path: Path, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        follower = Follower(tmp_path)
        router = follower.inside.router
        follower.write(1)
        disk.full = {"loaded.json", "access.jsonl"}
        keeping = asyncio.create_task(keep(follower.reloader, router, follower.inside.log))
        await until(lambda: router.generation == 1)
        await follower.inside.ask()
        await until(lambda: "access.jsonl" in disk.refused)
        follower.write(2, faq=EndpointRoute())
        await until(lambda: router.generation == 2)
        assert follower.in_force() == -1
        assert not keeping.done()
        disk.full = set()
        await until(lambda: follower.in_force() == 2)
        await until(lambda: '"dropped": 1' in text(tmp_path / "access.jsonl"))
        keeping.cancel()

    asyncio.run(main())
    assert capsys.readouterr().err.count("loaded.json has to wait") == 1


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_table_that_is_bad_at_the_start_is_reported_once(tmp_path: Path) -> None:
    follower = Follower(tmp_path)
    follower.path.write_text("{")
    assert not any(follower.reloader.check() for _ in range(5))
    assert text(tmp_path / "spool.jsonl").count("routes_refused") == 1
    assert follower.in_force() == -1
    follower.write(3)
    assert follower.reloader.check()
    assert follower.in_force() == 3


def test_a_load_report_that_got_lost_is_written_again(tmp_path: Path, disk: Disk) -> None:
    async def main() -> None:
        load = Inside(tmp_path).router.load
        sleeping = Deployment("faq", "blue", load, 0.0)
        sleeping.touch()
        disk.full = {"load.json"}
        reporting = asyncio.create_task(keep_reporting(load, tmp_path / "load.json"))
        await asyncio.sleep(0)
        disk.full = set()
        await until(lambda: "faq/blue" in text(tmp_path / "load.json"))
        reporting.cancel()

    asyncio.run(main())
