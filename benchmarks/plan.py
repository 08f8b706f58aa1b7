"""How true a plan is: plans a fine-tune, runs it, and compares.

    python -m benchmarks.plan [CHECKPOINT TRAIN.jsonl VALIDATION.jsonl] [--set NAME=VALUE ...]

CHECKPOINT is a Hugging Face folder, the data are messages files (`phoundry data`); without them
the model and the FAQ of `phoundry demo` are fetched once into the cache. The plan comes
from the planning worker and the run from the training worker, each in a process of its own, as
jobs do it. Ends with one JSON line: predicted, actual and their ratio (predicted / actual) of
seconds, peak memory, tokens a second and disk. Run it while nothing else does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.train.material import prepare
from phoundry.files import read_json, write_json
from phoundry.settings import Home
from phoundry.specs.finetune import resolve
from phoundry.training.machine import machine_recommendation

USUAL = {"apply_lora": "true", "lora_r": "16", "lora_alpha": "32", "learning_rate": "1e-3"}


def main() -> None:
    told = _arguments()
    user = {**USUAL, **dict(each.split("=", 1) for each in told.set)}
    parameters, sources = resolve(user, machine=machine_recommendation())
    with tempfile.TemporaryDirectory(prefix="phoundry-plan-") as folder:
        checkpoint, train, validation = told.files or _demo(Path(folder) / "data")
        spec = {
            "checkpoint_dir": str(checkpoint),
            "train_path": str(train),
            "validation_path": str(validation),
            "parameters": parameters.model_dump(mode="json"),
            "sources": sources,
            "cache_dir": str(Path(folder) / "cache"),
        }
        planned, planning = _run("phoundry.training.planner", Path(folder) / "plan", spec)
        with _most_bytes(Path(folder) / "run") as most:
            trained, training = _run("phoundry.training", Path(folder) / "run", spec)
        disk = most[0]
    plan, metrics = planned["plan"], trained["metrics"]
    compared = {
        "seconds": (plan["seconds"], training),
        "memory_mb": (plan["memory_bytes"] / 1e6, metrics["peak_memory"] / 1e6),
        "tokens_per_second": (plan["tokens_per_second"], metrics["tokens_per_second"]),
        "disk_mb": (plan["disk_bytes"] / 1e6, disk / 1e6),
        "tokens": (plan["tokens"], metrics["tokens"]),
        "steps": (plan["steps"], metrics["steps"]),
    }
    line: dict[str, Any] = {"planning_seconds": round(planning, 1), "choices": plan["choices"]}
    for name, (predicted, actual) in compared.items():
        ratio = round(predicted / actual, 3)
        line[name] = {"plan": round(predicted, 1), "run": round(actual, 1), "ratio": ratio}
        sys.stderr.write(f"{name:<18} {predicted:>12,.1f} {actual:>12,.1f} {ratio:>7.2f}\n")
    print(json.dumps(line))


def _run(module: str, run_dir: Path, spec: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """The result of a worker, and how many seconds it took."""
    write_json(run_dir / "spec.json", spec)
    begun = time.monotonic()
    with (run_dir / "log.txt").open("wb") as log:
        command = [sys.executable, "-m", module, str(run_dir)]
        subprocess.run(command, stdout=log, stderr=log, check=False)
    seconds = time.monotonic() - begun
    result: dict[str, Any] = read_json(run_dir / "result.json") or {}
    if result.get("status") != "succeeded":
        sys.stderr.write((run_dir / "log.txt").read_text(encoding="utf-8"))
        sys.exit(f"{module} failed: {result.get('error')}")
    return result, seconds


@contextmanager
def _most_bytes(folder: Path) -> Generator[list[int]]:
    """The most bytes that `folder` held at one time, looked at ten times a second."""
    most, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            held = 0
            for file in folder.rglob("*"):
                with suppress(FileNotFoundError):
                    held += 0 if file.is_symlink() or not file.is_file() else file.stat().st_size
            most[0] = max(most[0], held)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield most
    finally:
        ended.set()
        looking.join()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", type=Path, nargs="*", metavar="CHECKPOINT TRAIN VALIDATION")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    told = parser.parse_args()
    if len(told.files) not in (0, 3):
        parser.error("name a checkpoint, a training file and a validation file, or none of them")
    return told


def _demo(folder: Path) -> tuple[Path, Path, Path]:
    given = prepare(folder, Home.current().cache / "benchmarks", 1_000)
    return given.checkpoint, given.train, given.held_out


if __name__ == "__main__":
    main()
