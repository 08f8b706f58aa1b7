"""The processes of a measurement: the stub, our gateway, LiteLLM's proxy, each on its own core."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import psutil

from phoundry.files import read_json
from phoundry.serving.gateway.auth import hash_key
from phoundry.serving.gateway.routes import (
    DeploymentRoute,
    EndpointRoute,
    ReplicaRoute,
    RoutingTable,
    write_routes,
)

KEY = "KEY"
START_SECONDS = 120
FILES = ("loaded.json", "ready.json")


def cores() -> tuple[set[int], set[int]]:
    """The core of what is measured, and the core of clients and stub; one core serves both."""
    usable = sorted(os.sched_getaffinity(0))
    return {usable[0]}, {usable[-1]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: list[str],
    on: set[int],
    environment: dict[str, str] | None = None,
    output: BinaryIO | None = None,
) -> Generator[psutil.Process]:
    """`command` on these cores until the block ends. `output`: where its words go, if not here."""
    process = subprocess.Popen(
        command,
        env=os.environ | (environment or {}),
        stdout=output,
        stderr=output and subprocess.STDOUT,
        preexec_fn=lambda: os.sched_setaffinity(0, on),
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def wait_for_port(port: int, process: psutil.Process) -> None:
    """Until something accepts connections there; ends the benchmark where the process dies."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.is_running():
        if process.status() == psutil.STATUS_ZOMBIE:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


@contextmanager
def stub(on: set[int]) -> Generator[int]:
    """The port of a replica that answers at once."""
    port = free_port()
    with running([sys.executable, "-m", "benchmarks.gateway.stub", str(port)], on) as process:
        wait_for_port(port, process)
        yield port


class Gateway:
    """Our gateway in `folder`, and the table that it follows."""

    def __init__(self, folder: Path, stub_port: int) -> None:
        self._folder = folder
        self._replica = ReplicaRoute(f"http://127.0.0.1:{stub_port}", "token")
        self._generation = 0

    def use(self, endpoints: int) -> None:
        """Put a table of so many endpoints into force; the asked one is `faq`, among the others."""
        blue = DeploymentRoute([self._replica], max_concurrent=64)
        names = [f"other-{number}" for number in range(endpoints - 1)]
        names.insert(endpoints // 2, "faq")
        table = {
            name: EndpointRoute(
                [hash_key(KEY if name == "faq" else name)], {"blue": 100}, {"blue": blue}
            )
            for name in names
        }
        self._generation += 1
        write_routes(self._folder / "routes.json", RoutingTable(self._generation, table))

    def wait(self) -> int:
        """The gateway's port, once the present table is in force."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            loaded, ready = (read_json(self._folder / name) for name in FILES)
            if loaded and ready and loaded["generation"] == self._generation:
                return int(ready["port"])
            time.sleep(0.02)
        raise SystemExit("the gateway did not take the table into force")

    @contextmanager
    def running(self, on: set[int]) -> Generator[psutil.Process]:
        spec = {"host": "127.0.0.1", "port": 0, "routes_path": str(self._folder / "routes.json")}
        (self._folder / "spec.json").write_text(json.dumps(spec))
        command = [sys.executable, "-m", "phoundry.serving.gateway", str(self._folder)]
        with running(command, on) as process:
            yield process
