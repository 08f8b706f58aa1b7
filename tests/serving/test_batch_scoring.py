"""A batch from its first line to its last: slots kept full, stops, failures, kills."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from phoundry.data import RefusedRow
from phoundry.errors import Cancelled, ModelError
from phoundry.files import read_json
from phoundry.serving.batch.answers import ANSWERS, ERRORS, Answer, Answers, Counts
from phoundry.serving.batch.requests import Bad, Request
from phoundry.serving.batch.scoring import AHEAD, Scoring
from tests.serving.processes import wait_for
from tests.serving.test_batch_answers import answer

SLOTS = 4


def todo(number: int, start: int = 0) -> Iterator[Request | Bad]:
    return (Request(place, f"q{place}", "/", {}) for place in range(start, number))


def score(
    folder: Path,
    lines: Iterator[Request | Bad],
    ask: Callable[[Request], Awaitable[Answer]],
    stop: asyncio.Event | None = None,
    **settings: Any,
) -> Counts:
    async def run() -> Counts:
        answers = Answers.open(folder)
        scoring = Scoring(lines, answers, ask, SLOTS, lambda counts, seconds: None, **settings)
        try:
            await scoring.run(stop or asyncio.Event())
        finally:
            assert len(asyncio.all_tasks()) == 1  # nothing goes on behind our back
        return answers.counts

    return asyncio.run(run())


def ids(folder: Path, name: str = ANSWERS) -> list[str]:
    return [json.loads(line)["custom_id"] for line in (folder / name).read_text().splitlines()]


def test_all_slots_are_kept_full_and_the_order_is_kept(tmp_path: Path) -> None:
    running, most = 0, 0

    async def ask(request: Request) -> Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(request.index % 7):
            await asyncio.sleep(0)
        running -= 1
        return answer(request.index, failed=request.index % 5 == 0)

    counts = score(tmp_path, todo(50), ask)
    assert most == SLOTS + AHEAD
    assert (counts.done, counts.failed) == (50, 10)
    assert ids(tmp_path) == [f"q{place}" for place in range(50) if place % 5]
    assert ids(tmp_path, ERRORS) == [f"q{place}" for place in range(0, 50, 5)]


def test_no_more_than_the_window_is_held_behind_a_slow_line(tmp_path: Path) -> None:
    furthest = 0
    first = asyncio.Event()

    async def ask(request: Request) -> Answer:
        nonlocal furthest
        furthest = max(furthest, request.index)
        if request.index == 0:
            for _ in range(200):
                await asyncio.sleep(0)
            assert furthest == 7
            first.set()
        return answer(request.index)

    assert score(tmp_path, todo(30), ask, window=8).done == 30
    assert first.is_set()


def test_a_stop_keeps_what_was_answered_in_order(tmp_path: Path) -> None:
    stop = asyncio.Event()

    async def ask(request: Request) -> Answer:
        if request.index == 20:
            stop.set()
        if request.index >= 20:
            await asyncio.Event().wait()
        return answer(request.index)

    with pytest.raises(Cancelled):
        score(tmp_path, todo(40), ask, stop)
    assert ids(tmp_path) == [f"q{place}" for place in range(20)]

    async def go_on(request: Request) -> Answer:
        return answer(request.index)

    assert score(tmp_path, todo(40, start=20), go_on).done == 40
    assert ids(tmp_path) == [f"q{place}" for place in range(40)]


def broken(index: int) -> Answer:
    body = {"error": {"message": "out of luck"}}
    record = {"id": f"batch_req_{index:08d}", "custom_id": f"q{index}"}
    return Answer(index, record | {"response": {"status_code": 500, "body": body}}, True, True)


def test_an_engine_that_fails_on_everything_fails_the_job(tmp_path: Path) -> None:
    async def ask(request: Request) -> Answer:
        return broken(request.index) if request.index >= 10 else answer(request.index)

    with pytest.raises(ModelError, match="out of luck"):
        score(tmp_path, todo(100), ask, most_broken=6)
    assert Answers.open(tmp_path).counts.done == 10
    assert ids(tmp_path, ERRORS) == []  # those are asked again when it is resumed

    async def never(request: Request) -> Answer:
        return broken(request.index)

    with pytest.raises(ModelError, match="3 requests"):
        score(tmp_path / "short", todo(3), never)


def test_an_engine_that_is_broken_when_a_job_is_resumed_fails_it_again(tmp_path: Path) -> None:
    async def ask(request: Request) -> Answer:
        return answer(request.index)

    async def never(request: Request) -> Answer:
        return broken(request.index)

    score(tmp_path, todo(95), ask)
    with pytest.raises(ModelError, match="5 requests"):
        score(tmp_path, todo(100, start=95), never)
    assert Answers.open(tmp_path).counts.done == 95


def test_nothing_is_written_after_one_of_those_that_ask_has_failed(tmp_path: Path) -> None:
    """Others may get their answers while it ends."""
    failed = asyncio.Event()

    async def ask(request: Request) -> Answer:
        if request.index < 3:
            await asyncio.sleep(0)
            failed.set()
            return broken(request.index)
        await failed.wait()
        return answer(request.index)

    with pytest.raises(ModelError, match="3 requests"):
        score(tmp_path, todo(100), ask, most_broken=3)
    assert Answers.open(tmp_path).counts.done == 0


def test_what_cannot_be_asked_at_all_ends_the_batch(tmp_path: Path) -> None:
    """Those that wait for its place behind the window end, too."""

    async def ask(request: Request) -> Answer:
        await asyncio.sleep(0)
        if request.index == 3:
            raise ValueError("no such thing")
        return answer(request.index)

    async def in_time() -> None:
        answers = Answers.open(tmp_path)
        scoring = Scoring(todo(90), answers, ask, SLOTS, lambda counts, seconds: None, window=8)
        await asyncio.wait_for(scoring.run(asyncio.Event()), 20)

    with pytest.raises(ValueError, match="no such thing"):
        asyncio.run(in_time())
    assert Answers.open(tmp_path).counts.done == 3


def test_an_engine_that_fails_on_one_line_leaves_an_error_line(tmp_path: Path) -> None:
    async def ask(request: Request) -> Answer:
        return broken(request.index) if request.index in (3, 4, 9) else answer(request.index)

    assert score(tmp_path, todo(10), ask, most_broken=3).failed == 3
    assert ids(tmp_path, ERRORS) == ["q3", "q4", "q9"]


def test_a_bad_line_has_its_place_among_the_errors(tmp_path: Path) -> None:
    async def ask(request: Request) -> Answer:
        return answer(request.index)

    bad = Bad(1, RefusedRow("a.jsonl", 7, "not JSON", "not JSON: no"))
    lines: list[Request | Bad] = [Request(0, "q0", "/", {}), bad, Request(2, "q2", "/", {})]
    assert score(tmp_path, iter(lines), ask).failed == 1
    (record,) = [json.loads(line) for line in (tmp_path / ERRORS).read_text().splitlines()]
    assert (record["custom_id"], record["response"]) == ("line-7", None)
    assert record["error"]["message"] == "a.jsonl:7: not JSON: no"


NUMBER = 24
LONGEST = 40  # tokens of an answer


def worker_spec(folder: Path, tokenizer_dir: Path, **changes: Any) -> dict[str, Any]:
    """A batch on the fake engine, which echoes; line 5 asks for what is refused."""
    path = folder / "asked.jsonl"
    lines: list[dict[str, Any]] = []
    for place in range(NUMBER):
        body: dict[str, Any] = {"messages": [{"role": "user", "content": f"number {place}"}]}
        body |= {"temperature": 9} if place == 5 else {"model": "mine"}
        url = "/v1/chat/completions"
        lines.append({"custom_id": f"q{place}", "method": "POST", "url": url, "body": body})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {
        "engine": "fake",
        "tokenizer_dir": str(tokenizer_dir),
        "model_name": "echo:1",
        "context_length": 256,
        "slots": 2,
        "threads": 1,
        "defaults": {"max_tokens": LONGEST},
        "input_path": str(path),
        "input_name": "asked.jsonl",
        "lines": NUMBER,
        **changes,
    }


def start(run_dir: Path) -> subprocess.Popen[bytes]:
    """The worker of a folder that has its spec."""
    return subprocess.Popen([sys.executable, "-m", "phoundry.serving.batch", str(run_dir)])


def test_killed_and_stopped_it_goes_on_and_answers_as_openai_does(
    tmp_path: Path, tokenizer_dir: Path
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    spec = worker_spec(tmp_path, tokenizer_dir, options={"delay_ms": 20})
    (run_dir / "spec.json").write_text(json.dumps(spec))
    killed = start(run_dir)
    wait_for(lambda: done(run_dir) >= 2)
    killed.kill()
    killed.wait()
    reached = done(run_dir)
    assert 2 <= reached < NUMBER
    assert not (run_dir / "result.json").exists()

    stopped = start(run_dir)
    wait_for(lambda: done(run_dir) > reached)
    stopped.terminate()
    assert stopped.wait(60) == 1
    assert read_json(run_dir / "result.json")["status"] == "cancelled"
    assert reached < done(run_dir) < NUMBER

    (run_dir / "spec.json").write_text(json.dumps(spec | {"options": {}}))
    assert start(run_dir).wait(60) == 0
    metrics = read_json(run_dir / "result.json")["metrics"]
    assert (metrics["requests"], metrics["failed"]) == (NUMBER, 1)
    check_answers(run_dir / "output")


def check_answers(folder: Path) -> None:
    answers = [json.loads(line) for line in (folder / ANSWERS).read_text().splitlines()]
    assert [each["custom_id"] for each in answers] == [f"q{n}" for n in range(NUMBER) if n != 5]
    for each in answers:
        assert set(each) == {"id", "custom_id", "response", "error"}
        assert (each["error"], each["response"]["status_code"]) == (None, 200)
        completion = ChatCompletion.model_validate(each["response"]["body"])
        assert completion.model == "mine"
        assert f"number {each['custom_id'][1:]}" in str(completion.choices[0].message.content)
        assert completion.usage is not None
        assert completion.usage.completion_tokens <= LONGEST
    (refused,) = [json.loads(line) for line in (folder / ERRORS).read_text().splitlines()]
    assert refused["custom_id"] == "q5"
    assert refused["response"]["status_code"] == 400
    assert refused["response"]["body"]["error"]["param"] == "temperature"


def done(run_dir: Path) -> int:
    """Lines that are on disk."""
    paths = [run_dir / "output" / name for name in (ANSWERS, ERRORS)]
    return sum(len(path.read_bytes().splitlines()) for path in paths if path.exists())
