"""A contestant's process: how long it took and the most memory it and its children ever had."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
SAMPLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Measured:
    seconds: float  # from the start to the end of the process, loading included
    cpu_seconds: float  # of all its threads and children
    peak_rss: int  # bytes


class Failed(Exception):
    """A contestant's process ended with an error; the message ends with its log."""


def run_module(module: str, *arguments: str, log: Path, environ: Mapping[str, str]) -> Measured:
    """Run `python -m module arguments`, its output in `log`.

    Raises:
        Failed: with the end of the log.
    """
    return run_command([sys.executable, "-m", module, *arguments], log=log, environ=environ)


def run_command(command: Sequence[str], *, log: Path, environ: Mapping[str, str]) -> Measured:
    """Run `command`, its output in `log`.

    Raises:
        Failed: with the end of the log.
    """
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**environ}, stdout=output, stderr=subprocess.STDOUT
        )
        tree = _Tree(process.pid)
        try:
            # The kernel's own figure has no gaps, the sampled one has the children in it.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            tree.end()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = log.read_text(errors="replace")[-3000:]
        raise Failed(f"{' '.join(command)} ended with {process.returncode}:\n{tail}")
    own = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    cpu = usage.ru_utime + usage.ru_stime
    return Measured(time.monotonic() - started, cpu, max(own, tree.peak))


class _Tree:
    """The largest sum of resident memory of a process and its children, sampled."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(pid,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self, pid: int) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            try:
                root = psutil.Process(pid)
                family = [root, *root.children(recursive=True)]
                self.peak = max(self.peak, sum(p.memory_info().rss for p in family))
            except psutil.Error:  # gone between two looks
                continue
