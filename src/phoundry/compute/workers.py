"""Start, watch and stop worker processes.

A worker is known by its run folder (see `phoundry.worker`): the folder's lock says whether one
lives, process.json says which, result.json how it ended. So a control plane that was killed finds
every worker again by looking at folders, and starting one twice is harmless.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from phoundry.errors import TooLarge
from phoundry.files import PRIVATE, lock_held, read_json, write_json
from phoundry.settings import child_environ
from phoundry.worker import STOP_FILE, StopReason, ask_to_stop

PIPE = 60_000  # bytes; Linux gives a pipe 65,536
_OUTCOME = ("result.json", "ready.json", "process.json", "loaded.json", STOP_FILE)


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What a run folder says of its worker."""

    running: bool
    pid: int | None
    result: dict[str, Any] | None
    ready: dict[str, Any] | None

    @property
    def died(self) -> bool:
        """It is gone and left no result: it was killed."""
        return not self.running and self.result is None


def start(
    run_dir: Path,
    module: str,
    spec: dict[str, Any],
    *,
    environ: Mapping[str, str] | None = None,
    private: bytes | None = None,
) -> int:
    """Start `python -m module run_dir` in a session of its own; returns its pid.

    The spec goes through a file of mode 0600, never through arguments; `private` goes through its
    standard input and into no file. If the folder's worker still lives, nothing is started.

    Raises:
        TooLarge: `private` is more than a pipe holds before anybody reads it.
    """
    if private is not None and len(private) > PIPE:
        raise TooLarge(f"{len(private):,} bytes of secrets are too many; the limit is {PIPE:,}.")
    if (state := inspect(run_dir)).running and state.pid:
        return state.pid
    run_dir.mkdir(parents=True, exist_ok=True)
    for name in _OUTCOME:
        (run_dir / name).unlink(missing_ok=True)
    write_json(run_dir / "spec.json", spec, mode=PRIVATE)
    with (run_dir / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(run_dir)],
            stdin=subprocess.DEVNULL if private is None else subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=child_environ(environ) | {"PYTHONUNBUFFERED": "1"},
        )
    if process.stdin is not None and private is not None:
        with suppress(BrokenPipeError):  # it ended at once, which its folder tells
            process.stdin.write(private)
            process.stdin.close()
    created = _create_time(process.pid)
    # The worker writes the same once it holds the lock; until then this one tells that it lives.
    if created and not (run_dir / "process.json").exists():
        write_json(run_dir / "process.json", {"pid": process.pid, "create_time": created})
    return process.pid


def amend(run_dir: Path, **changes: Any) -> bool:
    """Write `changes` into the spec of a worker that looks at it again. False: they stand there."""
    spec: dict[str, Any] = read_json(run_dir / "spec.json") or {}
    if not spec or all(spec.get(key) == value for key, value in changes.items()):
        return False
    write_json(run_dir / "spec.json", spec | changes, mode=PRIVATE)
    return True


def inspect(run_dir: Path) -> WorkerState:
    """The state of the worker of `run_dir`; a folder that is not there has none."""
    pid: int | None = _record(run_dir).get("pid")
    running = lock_held(run_dir / "lock") or _living(run_dir) is not None
    # Read after the check: a result that appears in between belongs to a worker that has ended.
    result = read_json(run_dir / "result.json")
    return WorkerState(running, pid, result, read_json(run_dir / "ready.json"))


def terminate(run_dir: Path, reason: StopReason | None = None) -> bool:
    """Ask the worker to stop (SIGTERM), and say why before. False if none lives."""
    if reason and _living(run_dir):
        ask_to_stop(run_dir, reason)
    return _signal(run_dir, psutil.Process.terminate)


def kill(run_dir: Path) -> bool:
    """End the worker and its children at once (SIGKILL). False if none lives."""

    def kill_tree(process: psutil.Process) -> None:
        for child in process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.kill()

    return _signal(run_dir, kill_tree)


def memory_bytes(pid: int, *, family: bool = False) -> int | None:
    """Resident bytes of a process (of a `family` with those that it started), or None if it is
    gone."""
    try:
        process = psutil.Process(pid)
        size = int(process.memory_info().rss)
        children = process.children(recursive=True) if family else []
    except psutil.Error:
        return None
    for child in children:
        with suppress(psutil.Error):
            size += int(child.memory_info().rss)
    return size


def private_bytes(pid: int) -> int | None:
    """Of these, the bytes that are free once it ends: files that it reads stay in the cache."""
    try:
        found = psutil.Process(pid).memory_info()
    except psutil.Error:
        return None
    return int(found.rss - getattr(found, "shared", 0))


def _record(run_dir: Path) -> dict[str, Any]:
    """Pid and start time of the worker: those of the lock's holder, else those of process.json.

    process.json is only what was tried last: two control planes may have started one worker each
    in a folder, and the second worker left at once.
    """
    lock = run_dir / "lock"
    if lock_held(lock):
        with suppress(ValueError):  # taken this very moment, and nothing written into it yet
            return json.loads(lock.read_bytes())
    return read_json(run_dir / "process.json") or {}


def _signal(run_dir: Path, action: Callable[[psutil.Process], None]) -> bool:
    pid = _living(run_dir)
    if pid is None:
        return False
    try:
        action(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False
    return True


def _living(run_dir: Path) -> int | None:
    """The pid of the worker, or None where none lives.

    Who holds the lock wrote its pid into it.
    """
    record = _record(run_dir)
    return record.get("pid") if recorded_lives(run_dir / "lock", record) else None


def _create_time(pid: int) -> float | None:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


def exists(pid: int) -> bool:
    """Whether there is a process `pid`, whosever it is."""
    return psutil.pid_exists(pid)


def lives(pid: int | None, create_time: float | None) -> bool:
    """Whether `pid` is still the process that started at `create_time` (pids are used again)."""
    if pid is None or create_time is None:
        return False
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - create_time) > 0.05:
            return False
        if process.status() == psutil.STATUS_ZOMBIE:
            _reap(pid)
            return False
    except psutil.NoSuchProcess:
        return False
    return True


def _reap(pid: int) -> None:
    """Take the exit status of a child of ours, so that it does not stay a zombie."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def recorded_lives(lock: Path, record: Mapping[str, Any]) -> bool:
    """Whether the process of `record` (`pid`, `create_time`) lives; it holds `lock` meanwhile.

    The lock is proof where start times are none: the kernel's move with the clock, so after a step
    they differ from those of before.
    """
    return lock_held(lock) or lives(record.get("pid"), record.get("create_time"))
