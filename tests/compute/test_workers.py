from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from phoundry.compute import workers
from phoundry.files import lock_held

MODULE = "tests.compute.toy"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    run_dir = tmp_path / "run"
    yield run_dir
    workers.kill(run_dir)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def started(folder: Path) -> bool:
    return (folder / "events.jsonl").exists()


def test_a_worker_runs_and_leaves_its_result(folder: Path) -> None:
    workers.start(folder, MODULE, {"answer": 42})
    until(lambda: not workers.inspect(folder).running)
    state = workers.inspect(folder)
    # What is installed with MLflow would cost every worker that imports transformers two seconds.
    assert state.result == {"status": "succeeded", "answer": 42, "sees_sklearn": False}
    assert not state.died
    assert (folder / "spec.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("expected", "InvalidInput", "The spec is bad."),
        ("unexpected", "WorkerFailed", "by nothing"),
    ],
)
def test_no_failure_is_silent(folder: Path, kind: str, code: str, said: str) -> None:
    workers.start(folder, MODULE, {"fail": kind})
    until(lambda: not workers.inspect(folder).running)
    result = workers.inspect(folder).result
    assert result is not None
    assert (result["status"], result["error"]["code"]) == ("failed", code)
    assert said in result["error"]["message"]
    assert said in (folder / "log.txt").read_text()


def test_a_second_start_finds_the_first(folder: Path) -> None:
    first = workers.start(folder, MODULE, {"seconds": 60})
    until(lambda: started(folder))
    assert workers.start(folder, MODULE, {"seconds": 60}) == first
    assert workers.terminate(folder)
    until(lambda: not workers.inspect(folder).running)
    result = workers.inspect(folder).result
    assert result is not None
    assert result["status"] == "cancelled"
    assert not workers.terminate(folder)


def test_a_killed_worker_is_known_as_such(folder: Path) -> None:
    pid = workers.start(folder, MODULE, {"seconds": 60})
    until(lambda: started(folder))
    os.kill(pid, signal.SIGKILL)
    until(lambda: workers.inspect(folder).died)
    assert not psutil.pid_exists(pid)  # reaped, no zombie
    workers.start(folder, MODULE, {"answer": 1})
    until(lambda: workers.inspect(folder).result is not None)


def test_a_pid_that_was_given_to_another_process_is_not_the_worker(folder: Path) -> None:
    folder.mkdir()
    stranger = psutil.Process().pid
    record = {"pid": stranger, "create_time": psutil.Process().create_time() - 100}
    (folder / "process.json").write_text(json.dumps(record))
    assert not workers.inspect(folder).running
    assert not workers.kill(folder)


def test_a_worker_without_its_record_is_still_seen(folder: Path) -> None:
    """The one that started it may be killed before it could write anything."""
    workers.start(folder, MODULE, {"seconds": 60})
    until(lambda: started(folder))
    record = (folder / "process.json").read_text()
    (folder / "process.json").unlink()
    assert workers.inspect(folder).running
    (folder / "process.json").write_text(record)


def test_the_one_that_holds_the_folder_is_the_one_that_is_stopped(folder: Path) -> None:
    """Two control planes in a row may each have started one; the record may be of the second."""
    first = workers.start(folder, MODULE, {"seconds": 60})
    until(lambda: started(folder))
    (folder / "process.json").write_text(json.dumps({"pid": 2**22 + 1, "create_time": 1.0}))
    assert workers.inspect(folder).pid == first
    assert workers.terminate(folder)
    until(lambda: not workers.inspect(folder).running)


def test_a_worker_whose_clock_was_set_can_still_be_stopped(folder: Path) -> None:
    """Who holds the lock is the worker, whatever its start time is by the clock of now."""
    folder.mkdir()
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        record = {"pid": process.pid, "create_time": psutil.Process(process.pid).create_time() - 5}
        (folder / "lock").write_text(json.dumps(record))
        with (folder / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert workers.inspect(folder).running
            assert workers.terminate(folder, "cancel")
        assert process.wait(timeout=60) == -signal.SIGTERM
    assert (folder / "stop.json").exists()


def test_two_who_look_at_a_lock_do_not_see_each_other(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    with lock.open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # what looking does, held for longer
        assert not lock_held(lock)
        fcntl.flock(other, fcntl.LOCK_EX)
        assert lock_held(lock)


def test_a_worker_has_no_token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOUNDRY_TOKEN", "canary-of-the-token")
    monkeypatch.setenv("OTHER", "stays")
    pid = workers.start(folder, MODULE, {"seconds": 30})
    until(lambda: started(folder))
    environ = psutil.Process(pid).environ()
    assert "canary-of-the-token" not in environ.values()
    assert environ["OTHER"] == "stays"
