"""Workers that start, work, end and die when a test says so. Run folders are real."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from phoundry.compute import workers
from phoundry.compute.workers import WorkerState
from phoundry.files import read_json, write_json
from phoundry.models import catalog
from phoundry.worker import StopReason, ask_to_stop

PID = 4711
MODEL = "smollm2-135m-instruct"


@dataclass(frozen=True)
class Started:
    folder: Path
    module: str
    spec: dict[str, Any]
    private: bytes | None = None  # what it was told in secret


class FakeWorkers:
    """Stands in for `phoundry.compute.workers`."""

    def __init__(self) -> None:
        self.starts: list[Started] = []
        self.running: dict[Path, Started] = {}
        self.terminated: list[Path] = []
        self.ports: dict[Path, int] = {}
        self.refusal: OSError | None = None
        self.faithful = True  # what the deploy gate finds
        self.versions: dict[str, int] = {}  # of models, as MLflow counts them
        self.contents: dict[Any, int] = {}  # versions of models that were trained elsewhere

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("start", "inspect", "terminate", "kill"):
            monkeypatch.setattr(workers, name, getattr(self, name))

    def start(
        self, run_dir: Path, module: str, spec: dict[str, Any], *, private: bytes | None = None
    ) -> int:
        if run_dir in self.running:
            return PID
        if self.refusal:
            raise self.refusal
        run_dir.mkdir(parents=True, exist_ok=True)
        for name in ("result.json", "ready.json", "stop.json"):
            (run_dir / name).unlink(missing_ok=True)
        started = Started(run_dir, module, json.loads(json.dumps(spec)), private)
        self.starts.append(started)
        # What the process before was told, this one has not heard.
        self.terminated[:] = [folder for folder in self.terminated if folder != run_dir]
        self.running[run_dir] = started
        if module.endswith(("replica", "parity")):
            write_json(run_dir / "spec.json", spec)
        return PID

    def inspect(self, run_dir: Path) -> WorkerState:
        result, ready = read_json(run_dir / "result.json"), read_json(run_dir / "ready.json")
        return WorkerState(run_dir in self.running, PID, result, ready)

    def terminate(self, run_dir: Path, reason: StopReason | None = None) -> bool:
        if run_dir in self.running:
            if reason:
                ask_to_stop(run_dir, reason)
            self.terminated.append(run_dir)
        return run_dir in self.running

    def kill(self, run_dir: Path) -> bool:
        return self.running.pop(run_dir, None) is not None

    def modules(self) -> list[str]:
        """What was started so far, without the common beginning: `training`, `models.register`."""
        return [start.module.removeprefix("phoundry.") for start in self.starts]

    def one(self, module: str) -> Path:
        """The folder of the one worker of this kind that runs."""
        (found,) = [at for at, start in self.running.items() if start.module.endswith(module)]
        return found

    def end(self, run_dir: Path, status: str = "succeeded", **result: Any) -> None:
        if status != "succeeded":
            result["error"] = {"code": "ModelError", "message": f"It {status}.", "remedy": "Mend."}
        (run_dir / "result.json").write_text(json.dumps({"status": status, **result}))
        del self.running[run_dir]

    def stop(self) -> None:
        """What asked workers do: they end, and say that they were stopped."""
        for run_dir in self.terminated:
            if run_dir in self.running:
                self.end(run_dir, "cancelled")
        self.terminated.clear()

    def work(self) -> None:
        """Every worker does what it is there for: replicas answer, the others end."""
        for started in list(self.running.values()):
            kind = started.module.removeprefix("phoundry.")
            if kind == "serving.replica":
                self.answer(started.folder)
            elif kind in self._trades:
                self.end(started.folder, **self._trades[kind](self, started))

    def answer(self, run_dir: Path) -> None:
        """A replica is ready, on a port of its own."""
        self.ports.setdefault(run_dir, 1 + len(self.ports))
        (run_dir / "ready.json").write_text(json.dumps({"port": self.ports[run_dir]}))

    def replicas(self) -> list[Path]:
        """The folders of the replicas that run, in the order of their start."""
        return [at for at, start in self.running.items() if start.module.endswith("replica")]

    def _materialize(self, started: Started) -> dict[str, Any]:
        _checkpoint(Path(started.spec["checkpoint_dir"]))
        return {}

    def _train(self, started: Started) -> dict[str, Any]:
        (started.folder / "output" / "adapter").mkdir(parents=True, exist_ok=True)
        return {"metrics": {"eval_loss": 1.0}}

    def _register(self, started: Started) -> dict[str, Any]:
        name, content = started.spec["name"], None
        if "path" in started.spec:
            content = (name, (Path(started.spec["path"]) / "config.json").read_text())
        version = self.contents.get(content) or self.versions.get(name, 0) + 1
        self.versions[name] = max(version, self.versions.get(name, 0))
        if content:
            self.contents[content] = version
        folder = Path(started.spec["artifact_root"]) / f"{name}-{version}"
        _checkpoint(folder)
        uri = f"models:/{name}/{version}"
        return {
            "version": str(version),
            "uri": uri,
            "sha256": hashlib.sha256(str(content).encode()).hexdigest(),
            "checkpoint_dir": str(folder),
        }

    def _convert(self, started: Started) -> dict[str, Any]:
        path = Path(started.spec["gguf_path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"GGUF")
        return {}

    def _prove(self, started: Started) -> dict[str, Any]:
        return {"report": report(passed=self.faithful)}

    _trades: ClassVar[dict[str, Callable[[FakeWorkers, Started], dict[str, Any]]]] = {
        "models.materialize": _materialize,
        "training": _train,
        "models.register": _register,
        "models.convert": _convert,
        "serving.parity": _prove,
    }


def report(*, passed: bool) -> dict[str, Any]:
    """What the deploy gate's worker writes."""
    found: dict[str, Any] = {
        "passed": passed,
        "engine": "llama.cpp",
        "quantization": "Q8_0",
        "reference": "transformers, float32",
        "source": "built-in",
        "conversations": 6,
        "steps": 192,
        "agreed": 191,
        "tolerance": 0.1,
    }
    if not passed:
        message = "the engine says 'Paul'; the reference says 'Bill'"
        found["differences"] = [
            {"kind": "step", "conversation": 1, "step": 3, "message": message, "margin": 4.0}
        ]
    return found


def _checkpoint(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    entry = catalog.find(MODEL)
    assert entry is not None
    (folder / "config.json").write_text(json.dumps(dict(entry.config)))
    (folder / "source.json").write_text("{}")
