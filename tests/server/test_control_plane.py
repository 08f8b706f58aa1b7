"""The control plane as processes: starting, one a home, being killed, ending."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from phoundry.compute import workers
from phoundry.errors import Conflict, InsufficientResources, UsageError
from phoundry.files import lock_held, write_json
from phoundry.server import launch
from phoundry.server.control_plane import ControlPlane, locked
from phoundry.server.launch import ServerInfo
from phoundry.settings import Home


@pytest.fixture
def started(home: Home, free_ports: tuple[int, int]) -> Iterator[ServerInfo]:
    port, gateway_port = free_ports
    info = launch.ensure_running(home, port=port, gateway_port=gateway_port)
    yield info
    stop(home)


def stop(home: Home) -> None:
    if info := launch.running(home):
        url = f"{info.url}/api/shutdown"
        httpx.post(url, headers=bearer(info), timeout=60).raise_for_status()
    until(lambda: launch.running(home) is None)
    until(lambda: not workers.inspect(home.routes.parent).running)


def bearer(info: ServerInfo) -> dict[str, str]:
    return {"Authorization": f"Bearer {info.token}"}


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def test_it_is_found_after_its_clock_was_set(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its start time by the clock of now is another than the one that it wrote."""
    home.make()
    record = {"url": "http://x", "token": "t", "gateway_url": "http://y", "pid": os.getpid()}
    write_json(home.server_file, {**record, "create_time": psutil.Process().create_time() - 5})

    def answers(url: str) -> bool:
        return True

    monkeypatch.setattr(launch, "_answers", answers)
    assert launch.running(home) is None  # another process has that pid
    with locked(home):
        found = launch.running(home)
    assert found is not None
    assert found.pid == os.getpid()


def test_it_starts_once_and_everything_ends_with_it(home: Home, started: ServerInfo) -> None:
    assert launch.ensure_running(home).pid == started.pid
    assert stat.S_IMODE(home.server_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700
    url = f"{started.url}/api/status"
    status = httpx.get(url, headers=bearer(started), timeout=60).json()
    assert status["running"] is True
    gateway = {item["kind"]: item["pid"] for item in status["processes"]}["gateway"]
    assert httpx.get(f"{started.gateway_url}/healthz", timeout=60).status_code == 200
    stop(home)
    until(lambda: not psutil.pid_exists(gateway))
    assert not home.server_file.exists()


def test_a_second_one_on_the_home_is_refused(home: Home, started: ServerInfo) -> None:
    command = [sys.executable, "-m", "phoundry.server", str(home.root), "--port", "0"]
    done = subprocess.run(command[:-2], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "runs on" in done.stderr or "in use" in done.stderr
    assert launch.running(home) is not None


def test_two_commands_at_once_share_one(home: Home, free_ports: tuple[int, int]) -> None:
    def start(_: int) -> int:
        port, gateway_port = free_ports
        return launch.ensure_running(home, port=port, gateway_port=gateway_port).pid

    try:
        with ThreadPoolExecutor(3) as pool:
            pids = set(pool.map(start, range(3)))
        assert len(pids) == 1
    finally:
        stop(home)


def test_killed_it_leaves_the_gateway_which_its_successor_adopts(
    home: Home, started: ServerInfo
) -> None:
    gateway = workers.inspect(home.routes.parent).pid
    os.kill(started.pid, signal.SIGKILL)
    until(lambda: launch.running(home) is None)
    assert httpx.get(f"{started.gateway_url}/healthz", timeout=60).status_code == 200
    again = launch.ensure_running(home)
    assert (again.url, again.gateway_url) == (started.url, started.gateway_url)
    assert again.pid != started.pid
    assert workers.inspect(home.routes.parent).pid == gateway


def test_a_killed_gateway_comes_back(home: Home, started: ServerInfo) -> None:
    gateway = workers.inspect(home.routes.parent).pid
    assert gateway is not None
    os.kill(gateway, signal.SIGKILL)

    def back() -> bool:
        state = workers.inspect(home.routes.parent)
        return state.running and state.pid != gateway and state.ready is not None

    until(back)
    assert httpx.get(f"{started.gateway_url}/healthz", timeout=60).status_code == 200


def test_it_ends_with_its_gateway_when_the_home_is_deleted(home: Home, started: ServerInfo) -> None:
    control_plane = psutil.Process(started.pid)
    children = control_plane.children()
    assert children
    shutil.rmtree(home.root)
    _, alive = psutil.wait_procs([control_plane, *children], timeout=60)
    assert not alive


def test_a_port_in_use_is_said_by_the_starting_command(
    home: Home, started: ServerInfo, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Home(tmp_path_factory.mktemp("other"))
    port = int(started.url.rsplit(":", 1)[1])
    with pytest.raises(InsufficientResources, match=rf"Port {port} .* in use"):
        launch.ensure_running(other, port=port)


def test_an_address_that_others_can_reach_is_refused(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOUNDRY_HOST", "0.0.0.0")
    with pytest.raises(UsageError, match="TLS"):
        ControlPlane(home)


def test_the_lock_is_free_after_an_error(home: Home) -> None:
    from phoundry.server.control_plane import locked

    with locked(home), pytest.raises(Conflict), locked(home):
        pass
    with locked(home):
        pass


def test_a_start_waits_for_the_one_that_is_ending(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from phoundry.server.control_plane import locked

    class Started(Exception):
        pass

    def start(*_: object, **__: object) -> None:
        assert not lock_held(home.server_lock)
        raise Started

    monkeypatch.setattr(subprocess, "Popen", start)
    with ThreadPoolExecutor(1) as pool:
        with locked(home):
            waiting = pool.submit(launch.ensure_running, home)
            time.sleep(0.3)
            assert not waiting.done()
        with pytest.raises(Started):
            waiting.result(timeout=60)


def test_other_ports_than_the_running_ones_are_not_ignored(home: Home, started: ServerInfo) -> None:
    port = int(started.url.rsplit(":", 1)[1])
    assert launch.ensure_running(home, port=port).pid == started.pid
    with pytest.raises(Conflict, match="phoundry down"):
        launch.ensure_running(home, port=port + 1)
