"""Requests a second and added milliseconds of the gateway, beside the bare stub and LiteLLM.

    python -m benchmarks.gateway [--seconds 5] [--rounds 3] [--no-litellm]

What is measured has one core for itself; the clients and the stub replica share another. With 32
connections the sides are asked round by round, and the median round counts; with one connection
request by request. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import uvloop

from benchmarks.gateway import peer
from benchmarks.gateway.load import Side, in_turn, rush
from benchmarks.gateway.processes import KEY, Gateway, cores, stub
from phoundry.settings import Home

ASK = json.dumps(
    {"messages": [{"role": "user", "content": "Who founded Microsoft?"}], "model": "faq"}
).encode()
PATH = "/v1/chat/completions"
MANY = 32
ENDPOINTS = 1000


def percentile(values: list[float], percent: int) -> float:
    """In milliseconds."""
    return statistics.quantiles(values, n=100)[percent - 1] * 1000


@dataclass(frozen=True, slots=True)
class Measured:
    """A side, and the process that answers for it."""

    side: Side
    process: psutil.Process

    def processor_seconds(self) -> float:
        used = self.process.cpu_times()
        return used.user + used.system


async def rates(
    measured: list[Measured], rounds: int, seconds: float
) -> dict[str, tuple[float, float]]:
    """Of each side with many connections: requests a second, and processor µs a request.

    Medians of the rounds. The second number is less troubled by what else the machine does.
    """
    seen: dict[str, list[tuple[float, float]]] = {each.side.name: [] for each in measured}
    for each in measured:
        await rush(each.side, MANY, min(1.0, seconds))  # warm
    for _ in range(rounds):
        for each in measured:
            before = each.processor_seconds()
            asked = len(await rush(each.side, MANY, seconds))
            used = each.processor_seconds() - before
            seen[each.side.name].append((asked / seconds, used / asked * 1e6))
    for name, values in seen.items():
        shown = " ".join(f"{rate:,.0f}" for rate, _ in values)
        print(f"{name}, {MANY} connections: {shown} requests/s", flush=True)
    return {
        name: (statistics.median(r for r, _ in values), statistics.median(c for _, c in values))
        for name, values in seen.items()
    }


async def added(direct: Side, through: Side, seconds: float) -> dict[str, float]:
    """Milliseconds that the way through adds, with one connection."""
    await in_turn([direct, through], min(1.0, seconds))
    bare, seen = await in_turn([direct, through], seconds)
    for name, values in ((direct.name, bare), (through.name, seen)):
        p50, p99 = percentile(values, 50), percentile(values, 99)
        print(f"{name}, 1 connection: p50 {p50:.3f} ms, p99 {p99:.3f} ms", flush=True)
    return {
        "added_p50_ms": round(percentile(seen, 50) - percentile(bare, 50), 3),
        "added_p99_ms": round(percentile(seen, 99) - percentile(bare, 99), 3),
    }


async def measure(
    process: psutil.Process,
    gateway: Gateway,
    stub_port: int,
    rival: tuple[int, psutil.Process] | None,
    options: Any,
) -> dict[str, Any]:
    direct = Side("stub", f"http://127.0.0.1:{stub_port}{PATH}", ASK)
    ours = Measured(Side("gateway", f"http://127.0.0.1:{gateway.wait()}{PATH}", ASK, KEY), process)
    sides = [ours]
    if rival:
        url = f"http://127.0.0.1:{rival[0]}{PATH}"
        sides.append(Measured(Side("litellm", url, ASK, f"sk-{KEY}"), rival[1]))
    result: dict[str, Any] = await added(direct, ours.side, options.seconds)
    seen = await rates(sides, options.rounds, options.seconds)
    gateway.use(ENDPOINTS)
    gateway.wait()
    full = await rates([ours], options.rounds, options.seconds)
    result |= {
        "requests_per_second": round(seen["gateway"][0]),
        "cpu_us_per_request": round(seen["gateway"][1]),
        f"requests_per_second_{ENDPOINTS}_endpoints": round(full["gateway"][0]),
        f"cpu_us_per_request_{ENDPOINTS}_endpoints": round(full["gateway"][1]),
        "rss_mb": round(process.memory_info().rss / 2**20),
    }
    if rival:
        result["litellm_requests_per_second"] = round(seen["litellm"][0])
        result["litellm_cpu_us_per_request"] = round(seen["litellm"][1])
        result["ratio_litellm"] = round(seen["gateway"][0] / seen["litellm"][0], 1)
        result["ratio_litellm_cpu"] = round(seen["litellm"][1] / seen["gateway"][1], 1)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-litellm", action="store_true", help="go without the peer")
    parser.add_argument("--cache", type=Path, help="for what is fetched, and kept")
    options = parser.parse_args()
    cache = options.cache or Home.current().cache / "benchmarks"
    python = None if options.no_litellm else peer.install(cache.resolve())
    measured, others = cores()
    if measured == others:
        print("This machine has one core: all sides share it.", flush=True)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        os.sched_setaffinity(0, others)
        stub_port = stack.enter_context(stub(others))
        gateway = Gateway(folder, stub_port)
        gateway.use(1)
        process = stack.enter_context(gateway.running(measured))
        rival = None
        if python:
            rival = stack.enter_context(peer.proxy(python, folder, stub_port, measured))
        result = uvloop.run(measure(process, gateway, stub_port, rival, options))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
