"""What the gateway costs: requests a second and added milliseconds, beside the bare stub.

    python benchmarks/gateway.py [--seconds 5]

A stub replica (uvicorn, the same event loop) answers every request at once. Keep-alive clients ask
it directly and through the gateway, in turn, with 1 and with 32 connections. Client, gateway and
stub share the machine's cores, so `cpu_us_per_request` (processor time of the gateway alone) says
more on a busy or small machine. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import uvloop

from phoundry.files import read_json
from phoundry.serving.gateway.auth import hash_key
from phoundry.serving.gateway.routes import (
    DeploymentRoute,
    EndpointRoute,
    ReplicaRoute,
    RoutingTable,
    write_routes,
)

STUB = """
import sys, uvicorn
BODY = b'{"output": "stub"}'
START = {"type": "http.response.start", "status": 200, "headers": [
    (b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]}
async def app(scope, receive, send):
    await receive()
    await send(START)
    await send({"type": "http.response.body", "body": BODY})
uvicorn.run(app, port=int(sys.argv[1]), http="httptools", loop="uvloop", access_log=False,
            log_level="error", lifespan="off")
"""
ASK = json.dumps({"input_data": {"input_string": [{"role": "user", "content": "Hi"}]}}).encode()


async def load(port: int, path: str, connections: int, seconds: float) -> list[float]:
    """Seconds of each answered request, with `connections` clients that ask without a pause."""
    request = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer KEY\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(ASK)}\r\n\r\n"
    ).encode() + ASK
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (begin := time.perf_counter()) < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"unexpected answer: {head.decode()}")
            length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
            took.append(time.perf_counter() - begin)
        writer.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    return took


@contextmanager
def running(command: list[str]) -> Generator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def percentile(values: list[float], percent: int) -> float:
    """In milliseconds."""
    return statistics.quantiles(values, n=100)[percent - 1] * 1000


async def measure(
    stub: int, gateway: int, process: psutil.Process, seconds: float
) -> dict[str, Any]:
    path = "/endpoints/faq/score"
    for port in (stub, gateway):
        await load(port, path, 32, 1.0)  # warm
    direct: list[float] = []
    through: list[float] = []
    for _ in range(3):  # in turn, so that both see the same machine
        direct += await load(stub, path, 1, seconds / 3)
        through += await load(gateway, path, 1, seconds / 3)
    before = process.cpu_times()
    many = await load(gateway, path, 32, seconds)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    print(f"stub alone, 1 connection: {len(direct) / seconds:,.0f} requests/s")
    print(f"gateway, 1 connection: {len(through) / seconds:,.0f} requests/s")
    print(f"gateway, 32 connections: p50 {percentile(many, 50):.2f} ms")
    return {
        "requests_per_second": round(len(many) / seconds),
        "added_p50_ms": round(percentile(through, 50) - percentile(direct, 50), 3),
        "added_p99_ms": round(percentile(through, 99) - percentile(direct, 99), 3),
        "cpu_us_per_request": round(used / len(many) * 1e6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--stub-port", type=int, default=7497)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder)
        replica = ReplicaRoute(f"http://127.0.0.1:{options.stub_port}", "token")
        blue = DeploymentRoute([replica], max_concurrent=64)
        route = EndpointRoute([hash_key("KEY")], {"blue": 100}, {"blue": blue})
        write_routes(run_dir / "routes.json", RoutingTable(1, {"faq": route}))
        spec = {"host": "127.0.0.1", "port": 0, "routes_path": str(run_dir / "routes.json")}
        (run_dir / "spec.json").write_text(json.dumps(spec))
        stub = [sys.executable, "-c", STUB, str(options.stub_port)]
        gateway = [sys.executable, "-m", "phoundry.serving.gateway", str(run_dir)]
        with running(stub), running(gateway) as process:
            while not (run_dir / "ready.json").exists():
                time.sleep(0.05)
            time.sleep(0.5)
            port = read_json(run_dir / "ready.json")["port"]
            uvloop.install()
            watched = psutil.Process(process.pid)
            result = asyncio.run(measure(options.stub_port, port, watched, options.seconds))
            rss = watched.memory_info().rss
    print(json.dumps({**result, "rss_mb": round(rss / 2**20)}))


if __name__ == "__main__":
    main()
