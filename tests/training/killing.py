"""Runs in processes of their own that can be killed at any moment, without the cost of starting
an interpreter for each: they are forked from a server that has imported everything and run nothing.

A moment is a number of calls, of Python functions and of C functions alike, counted from the
beginning of the run. The same number is the same moment every time, and every moment between two
calls has a number: in the middle of writing a checkpoint, of an evaluation, between the best
checkpoint and the link to it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import transformers.optimization  # noqa: F401 - an import has many calls, and is no moment of a run

from phoundry.files import read_json, write_json
from phoundry.specs.finetune import FineTuneParameters
from phoundry.spool import Spool
from phoundry.training import machine
from phoundry.training.__main__ import SpoolReporter
from phoundry.training.checkpoints.folder import CheckpointFolder
from phoundry.training.interrupt import StopSwitch
from phoundry.training.loop import train
from phoundry.training.spec import TrainingSpec

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Job:
    """A run in `folder`. `keep` is its save_total_limit."""

    folder: Path
    checkpoint: Path
    train_path: Path
    validation_path: Path
    values: dict[str, Any]

    def named(self, name: str) -> Job:
        """The same run in a folder beside this one."""
        return replace(self, folder=self.folder.with_name(name))

    def finish(self) -> int:
        """Run it, or go on with it, to its end. Returns its number of calls."""
        process = _SERVER.Process(target=_run, args=(self, None, signal.SIGKILL))
        process.start()
        process.join()
        assert process.exitcode == 0, (self.folder / "log.txt").read_text()
        return read_json(self.folder / "calls.json")

    def signal_at(self, call: int, number: signal.Signals = signal.SIGKILL) -> bool:
        """Run it, or go on, and send it a signal at its `call`-th call; whether it came to that."""
        process = _SERVER.Process(target=_run, args=(self, call, number))
        process.start()
        process.join()
        if number == signal.SIGKILL:
            assert process.exitcode in (0, -signal.SIGKILL)
            return process.exitcode != 0
        assert process.exitcode == 0
        return read_json(self.folder / "calls.json") > call

    def output(self) -> bytes:
        """The weights it ended with."""
        return next((self.folder / "output").rglob("*.safetensors")).read_bytes()

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Those that it has written, of all its processes."""
        found, _ = Spool(self.folder / "events.jsonl").read()
        return [event for event in found if event["kind"] == kind]


def _run(job: Job, call: int | None, number: signal.Signals) -> None:
    machine.cores = lambda: 1
    job.folder.mkdir(exist_ok=True)
    log = os.open(job.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    parameters = FineTuneParameters.model_validate(job.values)
    spec = TrainingSpec(
        checkpoint_dir=job.checkpoint,
        train_path=job.train_path,
        validation_path=job.validation_path,
        parameters=parameters,
        output_dir=job.folder / "output",
    )
    checkpoints = CheckpointFolder(
        job.folder / "checkpoints", keep=parameters.save_total_limit, every_seconds=0
    )
    stop = StopSwitch()
    stop.listen()
    reporter = SpoolReporter(Spool(job.folder / "events.jsonl"))
    calls = _Calls(call, number)
    sys.setprofile(calls)
    try:
        train(spec, reporter, checkpoints, stop=stop)
    finally:
        sys.setprofile(None)
        write_json(job.folder / "calls.json", calls.count)


class _Calls:
    """Counts calls; at the `at`-th it sends this process a signal."""

    def __init__(self, at: int | None, number: signal.Signals) -> None:
        self.at, self.number, self.count = at, number, 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            self.count += 1
            if self.count == self.at:
                os.kill(os.getpid(), self.number)
