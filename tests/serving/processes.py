"""Start replicas and gateways as the control plane does: a folder with spec.json, a process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phoundry.files import read_json
from phoundry.spool import Spool

START_SECONDS = 60  # generous: several test processes may share a core


@dataclass
class Worker:
    process: subprocess.Popen[bytes]
    run_dir: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{read_json(self.run_dir / 'ready.json')['port']}"

    @property
    def log(self) -> str:
        return (self.run_dir / "log.txt").read_text()

    def events(self) -> list[dict[str, Any]]:
        return Spool(self.run_dir / "events.jsonl").read()[0]

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(START_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(START_SECONDS)


def spawn(module: str, run_dir: Path, spec: dict[str, Any]) -> Worker:
    """Start `module` without waiting for it."""
    run_dir.mkdir(parents=True)
    (run_dir / "spec.json").write_text(json.dumps(spec))
    with (run_dir / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(run_dir)], stdout=log, stderr=subprocess.STDOUT
        )
    return Worker(process, run_dir)


def start(module: str, run_dir: Path, spec: dict[str, Any]) -> Worker:
    """Start `module` and wait for its ready.json."""
    worker = spawn(module, run_dir, spec)
    wait_for(lambda: worker.process.poll() is not None or (run_dir / "ready.json").exists())
    if worker.process.poll() is not None:
        raise AssertionError(f"{module} ended with {worker.process.returncode}:\n{worker.log}")
    return worker


def wait_for(condition: Any, seconds: float = START_SECONDS) -> None:
    """Until `condition()` is true; fails after `seconds`, which no passing test needs."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not true within {seconds} s: {condition}")
        time.sleep(0.01)


def replica_spec(tokenizer_dir: Path, **changes: Any) -> dict[str, Any]:
    """The spec of a replica on the fake engine."""
    return {
        "name": "blue",
        "engine": "fake",
        "tokenizer_dir": str(tokenizer_dir),
        "model_name": "echo:1",
        "context_length": 256,
        "slots": 2,
        "threads": 1,
        "token": "replica-token",
        **changes,
    }
