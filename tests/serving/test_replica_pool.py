"""Members of a pool: replicas as any other from outside, and one llama.cpp between them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from phoundry.files import lock_held, read_json
from tests.serving.processes import Worker, replica_spec, spawn, start, wait_for
from tests.serving.tuned import PROMPT, Tuned

MEMBER = "phoundry.serving.replica.member"


class Members:
    """Members of one pool; all end with the test."""

    def __init__(self, tuned: Tuned, folder: Path) -> None:
        self._tuned, self._folder = tuned, folder
        self.started: list[Worker] = []

    def spec(self, number: int, **changes: Any) -> dict[str, Any]:
        values: dict[str, Any] = {
            "name": f"faq/m{number}",
            "engine": "llama.cpp",
            "gguf_path": str(self._tuned.base),
            "adapter_path": str(self._tuned.adapters[number]),
            "pool_dir": str(self._folder / "pool"),
            "context_length": 64,
            "token": f"token-{number}",
        }
        return replica_spec(self._tuned.checkpoint, **values | changes)

    def begin(self, number: int, **changes: Any) -> Worker:
        run_dir = self._folder / f"member{len(self.started)}"
        self.started.append(start(MEMBER, run_dir, self.spec(number, **changes)))
        return self.started[-1]

    @property
    def pool(self) -> int:
        return int(read_json(self._folder / "pool" / "pool.json")["pid"])

    def end(self) -> None:
        for worker in self.started:
            worker.kill()
        wait_for(lambda: not (self._folder / "pool" / "pool.json").exists())


@pytest.fixture
def members(tuned: Tuned, tmp_path: Path) -> Iterator[Members]:
    found = Members(tuned, tmp_path)
    yield found
    found.end()


def ids(worker: Worker, token: str) -> list[int]:
    """What the replica says greedily after PROMPT."""
    body = {"prompt_ids": PROMPT, "max_tokens": 8}
    return asked(worker, token, "/internal/generate", body).json()["token_ids"]


def asked(worker: Worker, token: str, path: str, body: dict[str, Any]) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.post(f"{worker.url}{path}", json=body, headers=headers, timeout=60)


def test_each_member_is_a_replica_of_its_own(members: Members, tuned: Tuned) -> None:
    one, other = members.begin(0), members.begin(1)
    pool = members.pool
    assert read_json(one.run_dir / "ready.json")["pool_pid"] == pool
    assert read_json(other.run_dir / "ready.json")["pool_pid"] == pool
    assert ids(one, "token-0") == tuned.merged[0]
    assert ids(other, "token-1") == tuned.merged[1]
    assert asked(one, "token-1", "/internal/generate", {}).status_code == 401
    for worker in (one, other):
        assert httpx.get(f"{worker.url}/health/live", timeout=60).status_code == 200
        assert [event["kind"] for event in worker.events()] == ["started", "ready"]
        # Another program has its place and waits; to whoever looks it is the worker that it was.
        wait_for(lambda pid=worker.process.pid: "waiting.py" in " ".join(_words(pid)))
        assert lock_held(worker.run_dir / "lock")
        assert read_json(worker.run_dir / "process.json")["pid"] == worker.process.pid

    # One ends, as any replica does; the other stays.
    url = one.url
    assert one.stop() == 0
    assert one.events()[-1]["kind"] == "stopping"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")
    assert ids(other, "token-1") == tuned.merged[1]

    # One that is killed takes nothing with it, and may come again: while another is there, since
    # without a member the pool ends in seconds, in which a busy machine starts none.
    again = members.begin(0)
    other.kill()
    assert ids(again, "token-0") == tuned.merged[0]
    assert ids(members.begin(1), "token-1") == tuned.merged[1]
    assert members.pool == pool

    # A fault of one is told to that one alone.
    refused = spawn(
        MEMBER,
        members.started[0].run_dir.with_name("refused"),
        members.spec(1)
        | {
            "defaults": {"max_tokens": 100_000},
        },
    )
    members.started.append(refused)
    assert refused.process.wait(60) == 1
    error = read_json(refused.run_dir / "result.json")["error"]
    assert "defaults.max_tokens" in error["message"]
    assert ids(again, "token-0") == tuned.merged[0]

    # The pool takes its members with it: the control plane starts each again.
    os.kill(pool, signal.SIGKILL)
    assert again.process.wait(60) == 1
    assert "shares with others" in read_json(again.run_dir / "result.json")["error"]["message"]
    fresh = members.begin(1)
    assert members.pool != pool
    assert ids(fresh, "token-1") == tuned.merged[1]
    last = members.pool
    assert fresh.stop() == 0
    wait_for(lambda: _gone(last))


def _words(pid: int) -> list[str]:
    return psutil.Process(pid).cmdline()


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
