from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from phoundry.errors import PhoundryError
from phoundry.flows.errors import SessionTimeout, UnexpectedError
from phoundry.serving.flow.pool import Pool


def on_pool(what: Callable[[Pool], Awaitable[Any]], size: int = 4, timeout: float = 30.0) -> Any:
    async def run() -> Any:
        pool = Pool(size, timeout)
        try:
            return await what(pool)
        finally:
            pool.close()

    return asyncio.run(run())


def test_every_call_gets_its_own_answer() -> None:
    async def ask(pool: Pool) -> list[int]:
        return await asyncio.gather(*(pool.run(lambda n=n: n * n) for n in range(500)))

    assert on_pool(ask) == [n * n for n in range(500)]


def test_calls_that_wait_run_side_by_side_up_to_the_size() -> None:
    meeting = threading.Barrier(4)  # broken unless four are there at once

    async def ask(pool: Pool) -> list[int]:
        return await asyncio.gather(*(pool.run(lambda: meeting.wait(60)) for _ in range(8)))

    assert sorted(on_pool(ask)) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_short_call_does_not_wait_for_a_long_one() -> None:
    go_on = threading.Event()

    async def ask(pool: Pool) -> str:
        long = asyncio.ensure_future(pool.run(lambda: go_on.wait(60)))
        found = await pool.run(lambda: "short")
        assert not long.done()
        go_on.set()
        await long
        return found

    assert on_pool(ask) == "short"


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration(), KeyboardInterrupt()])
def test_whatever_a_call_raises_is_an_error_of_ours(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(UnexpectedError, match=type(error).__name__):
        on_pool(lambda pool: pool.run(fail))


def test_the_trees_errors_pass_as_they_are() -> None:
    def fail() -> None:
        raise PhoundryError("as it is")

    with pytest.raises(PhoundryError, match="as it is"):
        on_pool(lambda pool: pool.run(fail))


def test_a_call_that_waits_for_a_thread_too_long_never_runs() -> None:
    go_on, ran = threading.Event(), threading.Event()

    async def ask(pool: Pool) -> list[Any]:
        calls = [pool.run(lambda: go_on.wait(60)), pool.run(ran.set)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        go_on.set()
        return found

    found = on_pool(ask, size=1, timeout=0.2)
    assert [type(each) for each in found] == [SessionTimeout, SessionTimeout]
    assert not ran.is_set()
