"""What is measured, part by part; the sides take turns, and medians count."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from benchmarks.flows.load import rate
from benchmarks.flows.material import NODES, QUESTION, make_lines
from benchmarks.flows.sides import Side
from benchmarks.gateway.load import Side as Asked
from benchmarks.gateway.processes import free_port, wait_for_port

MANY = 16  # connections
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. `theirs` are the lines of Prompt flow's batches, which it takes far
    longer for; its rate grows with them, so few would flatter us."""

    rounds: int = 5
    lines: int = 10_000
    theirs: int = 1_000
    seconds: float = 4.0


def in_turn(
    sides: list[Side], rounds: int, measure: Callable[[Side], float], unit: str
) -> dict[str, float]:
    """Medians by side; every round is shown."""
    seen: dict[str, list[float]] = {side.name: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            seen[side.name].append(measure(side))
    for name, values in seen.items():
        shown = " ".join(f"{value:,.4g}" for value in values)
        print(f"  {name}: {shown} {unit}", flush=True)
    return {name: statistics.median(values) for name, values in seen.items()}


def cold(sides: list[Side], size: Size) -> Figures:
    """`flow test` of one Python node, from nothing to the answer. The first round of each side is
    thrown away: it writes caches that a user has."""
    print("flow test of one node, from cold", flush=True)

    def measure(side: Side) -> float:
        measured, text = side.run(side.test("one"))
        assert QUESTION in text, text
        return measured.seconds

    for side in sides:
        measure(side)
    found = in_turn(sides, size.rounds, measure, "s")
    return {"cold_test_seconds": found["phoundry"], **_ratio("ratio_cold_test", found)}


def nodes(sides: list[Side], size: Size) -> Figures:
    """A line of 50 nodes within one process: one after the other, and side by side."""
    figures: Figures = {}
    for flow in ("chain", "wide"):
        print(f"{NODES} nodes, {flow}, in process", flush=True)
        found = in_turn(
            sides,
            max(3, size.rounds // 2),
            lambda side, flow=flow: (
                json.loads(side.run(side.lines(flow))[1].splitlines()[-1]) * 1000 / NODES
            ),
            "ms a node",
        )
        name = "node_overhead_ms" if flow == "chain" else "node_overhead_wide_ms"
        figures |= {name: found["phoundry"], **_ratio(f"ratio_{flow}50", found)}
    return figures


def batch(sides: list[Side], size: Size) -> Figures:
    """`run create`, whole process; lines a second, and the most memory of all its processes."""
    print(f"batch of {size.lines} lines (Prompt flow: {size.theirs})", flush=True)
    counts = {side.name: size.lines if side.ours else size.theirs for side in sides}
    data = {side.name: make_lines(side.folder / "lines.jsonl", counts[side.name]) for side in sides}
    memory: dict[str, list[float]] = {side.name: [] for side in sides}

    def measure(side: Side) -> float:
        measured, _ = side.run(side.batch("one", data[side.name]))
        memory[side.name].append(measured.peak_rss)
        return counts[side.name] / measured.seconds

    found = in_turn(sides, 3, measure, "lines/s")
    peaks = {name: statistics.median(values) for name, values in memory.items()}
    figures = {
        "batch_lines_per_second": found["phoundry"],
        **_ratio("ratio_batch", found, best=max),
    }
    if "promptflow" in peaks:
        figures["ratio_batch_memory"] = peaks["phoundry"] / peaks["promptflow"]
    return figures


def serve(sides: list[Side], size: Size) -> Figures:
    """`flow serve` of one node, 16 connections that ask without a pause."""
    print(f"flow serve, {MANY} connections", flush=True)
    figures: dict[str, float] = {}
    with _servers(sides) as asked:
        found = in_turn(
            sides,
            size.rounds,
            lambda side: rate(asked[side.name], MANY, size.seconds),
            "requests/s",
        )
        figures |= {"serve_rps": found["phoundry"], **_ratio("ratio_serve", found, best=max)}
    return figures


@contextmanager
def _servers(sides: list[Side]) -> Iterator[dict[str, Asked]]:
    body = json.dumps({"question": QUESTION}).encode()
    started: list[subprocess.Popen[bytes]] = []
    asked: dict[str, Asked] = {}
    try:
        for side in sides:
            port = free_port()
            log = (side.folder / "serve.txt").open("wb")
            process = subprocess.Popen(
                side.serve("one", port),
                env=side.environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            started.append(process)
            wait_for_port(port, psutil.Process(process.pid))
            asked[side.name] = Asked(side.name, f"http://127.0.0.1:{port}/score", body)
            rate(asked[side.name], MANY, 1.0)  # warm
        yield asked
    finally:
        for process in started:
            family = [*psutil.Process(process.pid).children(recursive=True)]
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for child in family:
                if child.is_running():
                    child.kill()


def _ratio(name: str, found: dict[str, float], best: Callable[..., float] = min) -> Figures:
    """How many times better ours is, where better is the smaller (or, with `max`, the larger)."""
    if "promptflow" not in found:
        return {}
    ours, theirs = found["phoundry"], found["promptflow"]
    return {name: theirs / ours if best is min else ours / theirs}


PARTS: dict[str, Callable[[list[Side], Size], Figures]] = {
    "cold": cold,
    "nodes": nodes,
    "batch": batch,
    "serve": serve,
}
