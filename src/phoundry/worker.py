"""What every worker process does: read its spec, report, and leave a result behind.

A worker is `python -m phoundry.<room> RUN_DIR`. Its folder holds

    spec.json      what to do (written by the control plane before the start)
    lock           held while the worker lives: one folder never has two workers. Its holder's
                   {"pid", "create_time"} stand in it
    process.json   the same, written by whoever starts the worker and by the worker itself
    events.jsonl   what happens (see spool.py)
    log.txt        standard output and error
    result.json    written once, last: {"status": "succeeded", ...} or {"status", "error"}
    output/        what it made

A folder without result.json whose process is gone was killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Literal, cast

from phoundry.errors import Cancelled, Conflict, PhoundryError, WorkerFailed
from phoundry.files import read_json, write_json
from phoundry.lean import begin
from phoundry.spool import Spool

_CLAIM_ATTEMPTS = 25
GRAPHICS = Path("/proc/driver/nvidia/version")  # NVIDIA's driver says so

Task = Callable[[dict[str, Any], Path, Spool], dict[str, Any]]


def run_worker(run_dir: Path, task: Task, *, claimed: bool = False) -> int:
    """Run `task(spec, run_dir, spool)` and write result.json; returns the exit code.

    `claimed`: this process has held the folder's lock since before an exec (see `keep_lock`).

    SIGTERM and SIGINT raise `Cancelled` in the task. An unexpected error is written to the log with
    its traceback and to the result with its type, so that no failure is silent.
    """
    spool = Spool(run_dir / "events.jsonl")
    if not claimed:
        claim(run_dir)
    leave_out_what_no_worker_needs()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _cancel)
    try:
        spec = read_json(run_dir / "spec.json")
        result = {"status": "succeeded", **task(spec, run_dir, spool)}
    except Cancelled as error:
        result = {"status": "cancelled", "error": error.to_dict()}
    except PhoundryError as error:
        sys.stderr.write(f"{error}\n")
        result = {"status": "failed", "error": error.to_dict()}
    except Exception as error:  # noqa: BLE001 - the process boundary: reported, never swallowed
        traceback.print_exc()
        unexpected = WorkerFailed(
            f"{type(error).__name__}: {error}", remedy=f"The log is {run_dir / 'log.txt'}."
        )
        result = {"status": "failed", "error": unexpected.to_dict()}
    write_json(run_dir / "result.json", result)
    for number in (signal.SIGTERM, signal.SIGINT):
        # There is nothing left to stop, and how it ended shall not be told otherwise by its exit.
        signal.signal(number, signal.SIG_IGN)
    return 0 if result["status"] == "succeeded" else 1


def claim(run_dir: Path) -> None:
    """Hold `run_dir`'s lock until this process ends, and write process.json.

    Raises:
        Conflict: another worker holds it.
    """
    import psutil

    # Left open on purpose: the kernel frees the lock when the process ends, however it ends.
    handle = os.open(run_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    _locks.append(handle)
    # Whoever looks whether the lock is held takes it for a moment, so one refusal means nothing.
    for attempt in range(_CLAIM_ATTEMPTS):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if attempt == _CLAIM_ATTEMPTS - 1:
                raise Conflict(f"A worker already runs in {run_dir}.") from None
            time.sleep(0.02)
    record = {"pid": os.getpid(), "create_time": psutil.Process().create_time()}
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(record).encode(), 0)
    write_json(run_dir / "process.json", record)


_locks: list[int] = []  # what this process has claimed


def keep_lock() -> None:
    """Let the program that this process is about to put in its own place (exec) hold its lock.

    For just before the exec: a child process that got it, too, would hold it after our end.
    """
    for handle in _locks:
        os.set_inheritable(handle, True)


StopReason = Literal["cancel", "pause"]
STOP_FILE = "stop.json"  # why the worker is told to stop; removed when one starts


def leave_out_what_no_worker_needs() -> None:
    """Let scikit-learn look as if it were not installed.

    transformers imports it wherever it is there (MLflow brings it), and with it SciPy and pandas:
    a third of the time that a worker takes to begin, for a way to generate that nothing here uses.
    One that is imported already stays.
    """
    sys.modules.setdefault("sklearn", cast(Any, None))  # how Python spells "there is none"


def ask_to_stop(run_dir: Path, reason: StopReason) -> None:
    """Say why the worker is about to be signalled. It reads this when the signal comes."""
    write_json(run_dir / STOP_FILE, {"reason": reason})


def stop_reason(run_dir: Path) -> StopReason:
    """Why a worker was told to stop; a signal that nobody explained is a pause."""
    asked: dict[str, Any] = read_json(run_dir / STOP_FILE) or {}
    return "cancel" if asked.get("reason") == "cancel" else "pause"


def main(task: Task, *, lean: bool = False) -> None:
    """Entry of a worker module: `if __name__ == "__main__": main(task)`.

    `lean`: it compiles nothing and runs on one machine (see `phoundry.lean`). Where there is an
    NVIDIA graphics processor all is imported as ever: it was never tried there.
    """
    if lean and not GRAPHICS.exists():
        begin()
    sys.exit(run_worker(Path(sys.argv[1]), task))


def _cancel(number: int, frame: FrameType | None) -> None:
    raise Cancelled(f"Stopped by {signal.Signals(number).name}.")
