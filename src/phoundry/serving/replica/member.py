"""A replica whose engine is shared: `python -m phoundry.serving.replica.member RUN_DIR`.

It keeps a place among the processes, so that it is started, watched, drained and killed as any
other replica; what answers is the pool (`replica/pool.py`), on a port of this replica's own.
spec.json has the keys of a replica, with gguf_path of the base, and

    adapter_path    the LoRA adapter as GGUF
    pool_dir        folder of the process that serves all replicas of this base and these settings

The first member starts the pool, under a lock. A pool that ends takes its members with it: each is
then started again by the control plane, and the first of them starts another. ready.json is
`{port, pid, pool_pid}`.

Nothing heavy is imported here, and while it is served `waiting.py` has the process: ten members
shall cost little beside what they share.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from phoundry.errors import Cancelled, Unavailable, WorkerFailed, from_dict
from phoundry.files import lock_held, read_json, write_json
from phoundry.serving.replica import waiting
from phoundry.settings import child_environ
from phoundry.spool import Spool
from phoundry.worker import Task, keep_lock, main, run_worker

_START_SECONDS = 60.0  # that a pool has to listen; it loads nothing before
_ATTEMPTS = 5  # to join one that was about to end
_POOL_KEYS = ("gguf_path", "context_length", "slots", "threads", "options")


def member(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """Have the pool serve this replica until SIGTERM.

    Raises:
        PhoundryError: why the pool cannot serve it.
        WorkerFailed: the pool has ended.
    """
    begun = time.monotonic()
    spool.append("started", engine=spec["engine"], model_name=spec["model_name"])
    door, told = _joined(spec, run_dir)
    with door:
        if "error" in told:
            raise from_dict(told["error"])
        seconds = round(time.monotonic() - begun, 3)
        facts = {name: told[name] for name in ("port", "context_length", "slots")}
        spool.append("ready", seconds=seconds, **facts)
        ready = {"port": told["port"], "pid": os.getpid(), "pool_pid": told["pid"]}
        write_json(run_dir / "ready.json", ready)
        try:
            _wait(door, run_dir)
        except Cancelled:
            return _ended(door, spool)
    raise _gone(spec)


def _wait(door: _Door, run_dir: Path) -> None:
    """Become what waits; it comes back to `_back`. A signal that comes meanwhile is not lost."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    keep_lock()
    words = ["-ISE", waiting.__file__, str(door.to_inherit()), str(run_dir)]
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 - ours


def _back(handle: int, told: str) -> Task:
    """What is left to do for a member that has waited with its door's `handle`."""

    def task(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
        with _Door(socket.socket(fileno=handle)) as door:
            if told == "stopped":
                return _ended(door, spool)
        raise _gone(spec)

    return task


def _ended(door: _Door, spool: Spool) -> dict[str, Any]:
    spool.append("stopping")
    _leave(door)
    return {}


class _Door:
    """The connection to the pool: lines of JSON."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")

    def __enter__(self) -> _Door:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._connection.close()

    def to_inherit(self) -> int:
        """Its handle, for the program that takes this one's place."""
        self._connection.set_inheritable(True)
        return self._connection.fileno()

    def tell(self, **message: Any) -> None:
        self._connection.sendall(json.dumps(message).encode() + b"\n")

    def hear(self) -> dict[str, Any] | None:
        """The next message; None where the pool has ended."""
        try:
            line = self._lines.readline()
        except ConnectionError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None


def _joined(spec: dict[str, Any], run_dir: Path) -> tuple[_Door, dict[str, Any]]:
    """The pool's door, and what it said; one that ends at that moment is asked no more."""
    for _ in range(_ATTEMPTS):
        door = _Door(_connection(spec))
        with suppress(ConnectionError):
            door.tell(key=_pool(spec)["key"], run_dir=str(run_dir))
            if (told := door.hear()) is not None:
                return door, told
        door.__exit__()
    raise _gone(spec)


def _leave(door: _Door) -> None:
    """Let what is being answered end; who told us to stop kills us if that takes too long."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    with suppress(ConnectionError):
        door.tell(stop=True)
        door.hear()


def _connection(spec: dict[str, Any]) -> socket.socket:
    """To the pool, which is started where there is none."""
    folder = Path(spec["pool_dir"])
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    started, end = False, time.monotonic() + _START_SECONDS
    with _alone(folder / "starting"):
        while (found := _connected(spec)) is None:
            if time.monotonic() > end:
                raise Unavailable(
                    f"The shared process did not listen within {_START_SECONDS:g} s.",
                    remedy=f"Its log is {folder / 'log.txt'}.",
                )
            # One that is ending frees its memory first.
            if not started and not lock_held(folder / "lock"):
                _start(folder, spec)
                started = True
            time.sleep(0.02)
        return found


def _connected(spec: dict[str, Any]) -> socket.socket | None:
    known = _pool(spec)
    if not known or not lock_held(Path(spec["pool_dir"]) / "lock"):
        return None
    try:
        return socket.create_connection(("127.0.0.1", known["port"]))
    except ConnectionError:
        return None


def _pool(spec: dict[str, Any]) -> dict[str, Any]:
    return read_json(Path(spec["pool_dir"]) / "pool.json") or {}


def _start(folder: Path, spec: dict[str, Any]) -> None:
    (folder / "pool.json").unlink(missing_ok=True)
    shared = {name: spec.get(name) for name in _POOL_KEYS}
    write_json(folder / "spec.json", shared, mode=0o600)
    with (folder / "log.txt").open("ab") as log:
        # It leaves this process at once for a child of its own: killing a member with its children
        # must not take the others' engine.
        subprocess.run(
            [sys.executable, "-m", "phoundry.serving.replica.pool", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=child_environ() | {"PYTHONUNBUFFERED": "1"},
            check=False,
        )


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """Hold the lock `path`; freed by the system if the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _gone(spec: dict[str, Any]) -> WorkerFailed:
    return WorkerFailed(
        "The process that this deployment shares with others ended.",
        remedy=f"Its log is {Path(spec['pool_dir']) / 'log.txt'}.",
    )


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(member)
    run_dir, handle, told = sys.argv[1:]
    sys.exit(run_worker(Path(run_dir), _back(int(handle), told), claimed=True))
