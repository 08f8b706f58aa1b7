"""Times the demonstration: `phoundry demo` on an empty home, with its memory.

    python benchmarks/journey.py [--home DIR]

Runs the whole journey once and samples, twice a second, the memory of every process that belongs to
the home (command, control plane, gateway, worker, replicas, flow sessions): the sum of their
proportional set sizes, so that shared pages count once. Ends with one JSON line. There is no peer
that does the journey on one machine; the figures stand against the limits in the README.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil


class Memory:
    """The largest total of the home's processes, in bytes."""

    def __init__(self, home: Path) -> None:
        self.home = str(home)
        self.peak = 0
        self.parts: dict[str, int] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.5):
            parts = {}
            for process in psutil.process_iter():
                try:
                    if process.environ().get("PHOUNDRY_HOME") == self.home:
                        name = " ".join(process.cmdline()[:3])[-60:]
                        parts[f"{process.pid} {name}"] = process.memory_full_info().pss
                except psutil.Error:
                    continue
            if sum(parts.values()) > self.peak:
                self.peak, self.parts = sum(parts.values()), parts


def run(home: Path) -> dict[str, Any]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], two.getsockname()[1]
    environ = os.environ | {
        "PHOUNDRY_HOME": str(home),
        "PHOUNDRY_PORT": str(ports[0]),
        "PHOUNDRY_GATEWAY_PORT": str(ports[1]),
    }
    phoundry = [sys.executable, "-m", "phoundry"]
    started = time.monotonic()
    try:
        with Memory(home) as memory:
            done = subprocess.run(
                [*phoundry, "demo", "-o", "json"], env=environ, stdout=subprocess.PIPE, check=True
            )
        seconds = time.monotonic() - started
    finally:
        subprocess.run([*phoundry, "down"], env=environ, check=False)
    return measured(json.loads(done.stdout), seconds, memory)


def measured(journey: dict[str, Any], seconds: float, memory: Memory) -> dict[str, Any]:
    steps = {step["name"]: duration(step) for step in journey["steps"]}
    for name, value in steps.items():
        print(f"{name:10} {value:7.1f} s")
    print(f"{'all':10} {seconds:7.1f} s, peak memory {memory.peak / 2**20:,.0f} MiB")
    for name, size in sorted(memory.parts.items(), key=lambda part: -part[1]):
        print(f"  {size / 2**20:7,.0f} MiB  {name}")
    trained = [each for each in journey["exchanges"] if each["kind"] == "trained"]
    exact = sum(each["tuned"].strip() == each["reference"].strip() for each in trained)
    base = sum(each["base"].strip() == each["reference"].strip() for each in trained)
    return {
        "seconds": round(seconds, 1),
        "seconds_training": round(steps["train"], 1),
        "peak_memory_mb": round(memory.peak / 1e6),
        "trained_questions": len(trained),
        "answered_word_for_word": exact,
        "answered_word_for_word_base": base,
        "cores": os.cpu_count(),
        "machine": platform.processor() or platform.machine(),
    }


def duration(step: dict[str, Any]) -> float:
    begun, ended = (datetime.fromisoformat(step[f"{word}_at"]) for word in ("started", "finished"))
    return (ended - begun).total_seconds()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="an empty folder; else a temporary one")
    home = parser.parse_args().home
    if home:
        print(json.dumps(run(home.resolve())))
        return
    with tempfile.TemporaryDirectory(prefix="phoundry-bench-") as folder:
        print(json.dumps(run(Path(folder) / "home")))


if __name__ == "__main__":
    main()
