"""The worker process: its contract, and that a killed run ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from phoundry.files import read_json, write_json
from phoundry.specs.finetune import FineTuneParameters
from phoundry.specs.job import Progress
from phoundry.spool import Spool
from phoundry.training.report import parameter_table
from phoundry.worker import ask_to_stop
from tests.support.imports import WATCH, heavy_imports
from tests.training.conftest import CheckpointMaker

MessagesFile = Callable[..., Path]
DEADLINE_SECONDS = 120
CALLS = 400_000  # less than half of what is left then
WORKER = ("-m", "phoundry.training")
# A worker that is killed so many calls after it has told of its second checkpoint. It does so
# itself: whoever looks from outside may look, on a busy machine, when all is over.
DYING = """
import os, runpy, signal, sys
from phoundry.spool import Spool

left, append, told = int(sys.argv.pop(1)), Spool.append, []

def count(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

def watched(spool, kind, **data):
    append(spool, kind, **data)
    told.append(kind)
    if told.count("checkpoint") == 2:
        sys.setprofile(count)

Spool.append = watched
runpy.run_module("phoundry.training", run_name="__main__", alter_sys=True)
"""


def _prepare(run_dir: Path, checkpoint: Path, data: Path, **values: Any) -> Path:
    parameters = FineTuneParameters.model_validate(
        {"apply_lora": True, "lora_r": 4, "pack_length": 64, "learning_rate": 1e-3, **values}
    )
    run_dir.mkdir()
    spec = {
        "checkpoint_dir": str(checkpoint),
        "train_path": str(data),
        "validation_path": str(data),
        "parameters": parameters.model_dump(),
        "sources": {"lora_r": "user"},
    }
    write_json(run_dir / "spec.json", spec)
    return run_dir


def _start(run_dir: Path, worker: Sequence[str] = WORKER) -> subprocess.Popen[bytes]:
    log = (run_dir / "log.txt").open("ab")
    command = [sys.executable, *WATCH, *worker, str(run_dir)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def _finish(run_dir: Path) -> dict[str, Any]:
    process = _start(run_dir)
    assert process.wait(DEADLINE_SECONDS) == 0, (run_dir / "log.txt").read_text()
    return read_json(run_dir / "result.json")


def _wait_for(run_dir: Path, kind: str, count: int, process: subprocess.Popen[bytes]) -> None:
    spool = Spool(run_dir / "events.jsonl")
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if sum(event["kind"] == kind for event in spool.read()[0]) >= count:
            return
        assert process.poll() is None, (run_dir / "log.txt").read_text()
        time.sleep(0.005)
    raise AssertionError(f"no {count} events of {kind}")


def _bytes_of_output(run_dir: Path) -> bytes:
    return next((run_dir / "output").rglob("*.safetensors")).read_bytes()


def test_the_contract(
    checkpoint_maker: CheckpointMaker, messages_file: MessagesFile, tmp_path: Path
) -> None:
    run_dir = _prepare(tmp_path / "run", checkpoint_maker("llama"), messages_file(10))
    result = _finish(run_dir)
    assert result["status"] == "succeeded"
    assert result["output"] == str(run_dir / "output" / "adapter")
    assert {"train_loss", "eval_loss", "tokens_per_second"} <= result["metrics"].keys()
    events, _ = Spool(run_dir / "events.jsonl").read()
    assert {e["kind"] for e in events} == {
        *("choice", "started", "progress", "evaluated", "sample", "checkpoint")
    }
    last = [event for event in events if event["kind"] == "progress"][-1]
    assert Progress.model_validate(last).step == last["max_steps"]
    log = (run_dir / "log.txt").read_text()
    assert "lora_r                       4" in log
    assert heavy_imports(log) == {"torch"}
    adapter = json.loads((run_dir / "output/adapter/adapter_config.json").read_bytes())
    assert (adapter["peft_type"], adapter["r"]) == ("LORA", 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("phi3", {"lora_dropout": 0.1, "precision": "16"}),
        ("llama", {"apply_lora": False, "optim": "adafactor"}),
    ],
)
def test_a_killed_run_goes_on_and_ends_with_the_same_bits(
    kind: str,
    values: dict[str, Any],
    checkpoint_maker: CheckpointMaker,
    messages_file: MessagesFile,
    tmp_path: Path,
) -> None:
    checkpoint, data = checkpoint_maker(kind), messages_file(16)
    more = {"num_train_epochs": 12, "logging_steps": 1, "lr_scheduler_type": "cosine", **values}
    whole = _prepare(tmp_path / "whole", checkpoint, data, **more)
    _finish(whole)

    killed = _prepare(tmp_path / "killed", checkpoint, data, **more)
    calls = random.randrange(CALLS)
    process = _start(killed, ("-c", DYING, str(calls)))
    ended = process.wait(DEADLINE_SECONDS)
    assert ended == -signal.SIGKILL, f"{calls} calls: {(killed / 'log.txt').read_text()}"
    assert not (killed / "result.json").exists(), "it ended before it could be killed"
    assert not (killed / "output").exists()
    _finish(killed)
    assert "Going on from the checkpoint" in (killed / "log.txt").read_text()
    assert _bytes_of_output(killed) == _bytes_of_output(whole)


def test_a_cancelled_run_says_so_and_keeps_its_checkpoint(
    checkpoint_maker: CheckpointMaker, messages_file: MessagesFile, tmp_path: Path
) -> None:
    run_dir = _prepare(
        tmp_path / "run", checkpoint_maker("llama"), messages_file(16), num_train_epochs=1000
    )
    process = _start(run_dir)
    _wait_for(run_dir, "checkpoint", 1, process)
    process.terminate()
    assert process.wait(DEADLINE_SECONDS) == 1
    result = read_json(run_dir / "result.json")
    assert result["status"] == "cancelled"
    assert result["error"]["code"] == "Cancelled"
    assert [p for p in (run_dir / "checkpoints").iterdir() if p.name.startswith("step-")]
    assert not (run_dir / "output").exists()


def test_a_run_that_is_cancelled_puts_out_its_best_and_says_so(
    checkpoint_maker: CheckpointMaker, messages_file: MessagesFile, tmp_path: Path
) -> None:
    """It is told to more than once: the second signal must not cut the output short."""
    run_dir = _prepare(
        tmp_path / "run", checkpoint_maker("llama"), messages_file(16), num_train_epochs=1000
    )
    process = _start(run_dir)
    _wait_for(run_dir, "checkpoint", 1, process)
    ask_to_stop(run_dir, "cancel")
    for _ in range(3):
        process.terminate()
        time.sleep(0.01)
    assert process.wait(DEADLINE_SECONDS) == 1
    result = read_json(run_dir / "result.json")
    assert result["status"] == "cancelled"
    assert "error" not in result
    best = result["metrics"]["best_step"]
    assert result["metrics"]["output_step"] == best <= result["metrics"]["steps"]
    assert (run_dir / "checkpoints" / "best").resolve().name == f"step-{int(best):08d}"
    assert result["output"] == str(run_dir / "output" / "adapter")
    assert _bytes_of_output(run_dir)


def test_the_table_shows_every_parameter_with_its_source() -> None:
    table = parameter_table(FineTuneParameters(), {"seed": "default", "lora_r": "model"})
    lines = {line.split()[0]: line.split()[1:] for line in table.splitlines()}
    assert lines.keys() == FineTuneParameters.model_fields.keys()
    assert lines["lora_r"] == ["8", "model"]
    assert lines["seed"] == ["42", "default"]
