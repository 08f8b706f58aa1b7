"""Starts a contestant in a process of its own and reads what came of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.data import TRAINING_TEMPLATE
from benchmarks.train import contest
from benchmarks.train.material import Material
from benchmarks.train.process import Failed, run_module
from benchmarks.train.run import Point, Run


def ours(material: Material, folder: Path, *, bfloat16: bool, evaluate: bool, seed: int) -> Run:
    """The real worker on a run folder, as the control plane would start it."""
    folder.mkdir(parents=True)
    parameters = contest.our_parameters(
        material.pack_length, bfloat16=bfloat16, evaluate=evaluate, seed=seed
    )
    spec: dict[str, Any] = {
        "checkpoint_dir": str(material.checkpoint),
        "train_path": str(material.train),
        "parameters": parameters,
        "sources": dict.fromkeys(parameters, "user"),
    }
    if evaluate:
        spec["validation_path"] = str(material.held_out)
    (folder / "spec.json").write_text(json.dumps(spec))
    measured = run_module(
        "phoundry.training", str(folder), log=folder / "log.txt", environ=os.environ
    )
    result = json.loads((folder / "result.json").read_text())
    if result["status"] != "succeeded":
        raise Failed(f"The training worker says {result}.")
    lines = (folder / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    return read_ours(events, result, supervised=material.supervised).take(measured)


def read_ours(events: list[dict[str, Any]], result: dict[str, Any], *, supervised: int) -> Run:
    """A run from the worker's events.

    Without evaluations the seconds are those between `started` and the last `progress`, by the
    events' own clock, so that whatever the worker does between steps counts, checkpoints too. With
    them they are the worker's own, which leave evaluations out.
    """
    metrics = result["metrics"]
    tokens = int(metrics["tokens"])
    evaluated = [event for event in events if event["kind"] == "evaluated"]
    steps = [event for event in events if event["kind"] == "progress"]
    seconds = tokens / metrics["tokens_per_second"]
    if not evaluated:
        begun = next(event["time"] for event in events if event["kind"] == "started")
        seconds = steps[-1]["time"] - begun
    done = {event["step"]: event["tokens"] for event in steps}
    rate = tokens / seconds
    curve = [
        Point(done.get(event["step"], 0) / rate, event["step"], event["eval_loss"])
        for event in evaluated
    ]
    return Run(
        contestant=contest.OURS,
        tokens=tokens,
        supervised=supervised,
        steps=int(metrics["steps"]),
        seconds=seconds,
        adapter=str(adapter_in(Path(result["output"]))),
        curve=curve,
        choices={e["name"]: str(e["value"]) for e in events if e["kind"] == "choice"},
    )


def adapter_in(output: Path) -> Path:
    """The adapter's folder: the output itself, or in it."""
    return output / "adapter" if (output / "adapter").is_dir() else output


def peer(
    side: contest.Peer,
    material: Material,
    folder: Path,
    *,
    packages: Path,
    evaluate: bool,
    seed: int,
) -> Run:
    """TRL in a process that finds it in `packages`, which no other process sees."""
    folder.mkdir(parents=True)
    job = {
        "name": side.name,
        "checkpoint": str(material.checkpoint),
        "train": str(material.train),
        "held_out": str(material.held_out_ids) if evaluate else None,
        "evaluate_every": contest.EVALUATE_EVERY,
        "template": TRAINING_TEMPLATE,
        "output": str(folder),
        "result": str(folder / "result.json"),
        "loading": side.loading,
        "settings": contest.shared_settings(seed) | side.settings,
        "lora": contest.shared_lora(),
    }
    (folder / "job.json").write_text(json.dumps(job))
    measured = run_module(
        "benchmarks.train.peer",
        str(folder / "job.json"),
        log=folder / "log.txt",
        environ=with_packages(os.environ, packages),
    )
    return Run.read(folder / "result.json").take(measured)


def with_packages(environ: Mapping[str, str], packages: Path) -> dict[str, str]:
    """The environment in which Python finds `packages` too."""
    path = os.pathsep.join(filter(None, [str(packages), environ.get("PYTHONPATH")]))
    return {**environ, "PYTHONPATH": path}
