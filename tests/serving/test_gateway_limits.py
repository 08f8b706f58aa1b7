"""The limiter against a model of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoundry.serving.errors import TooManyRequests
from phoundry.serving.gateway.limits import Limiter

Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["enter", "leave", "cancel", "resize"]), st.integers(0, 5)),
    max_size=60,
)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


@settings(deadline=None)
@given(st.integers(1, 4), STEPS)
def test_never_more_than_the_limit_runs_and_order_is_kept(limit: int, steps: list[Step]) -> None:
    run(_play(limit, steps))


async def _play(limit: int, steps: list[Step]) -> None:
    limiter = Limiter(limit)
    running: list[int] = []
    waiting: list[tuple[int, asyncio.Task[None]]] = []
    number = 0

    async def ask(name: int) -> None:
        await limiter.enter()
        running.append(name)

    for action, value in steps:
        if action == "enter":
            number += 1
            task = asyncio.create_task(ask(number))
            await asyncio.sleep(0)
            if task.done() and task.exception():
                assert len(running) + len(waiting) >= 2 * limit
            elif number not in running:
                waiting.append((number, task))
        elif action == "leave" and running:
            del running[value % len(running)]
            limiter.leave()
        elif action == "cancel" and waiting:
            _, task = waiting.pop(value % len(waiting))
            task.cancel()
        elif action == "resize":
            limit = value + 1
            limiter.resize(limit)
        for _ in range(3):
            await asyncio.sleep(0)
        served = [pair for pair in waiting if pair[0] in running]
        assert served == waiting[: len(served)]  # first come, first served
        waiting = waiting[len(served) :]
        assert limiter.running == len(running)
        assert limiter.in_flight == len(running) + len(waiting)
        assert not waiting or len(running) >= limit  # nobody waits while there is room
    for _, task in waiting:
        task.cancel()


def test_a_place_that_comes_with_the_cancellation_is_passed_on() -> None:
    async def main() -> None:
        limiter = Limiter(1)
        await limiter.enter()
        waiting = asyncio.create_task(limiter.enter())
        await asyncio.sleep(0)
        limiter.leave()  # hands the place over …
        waiting.cancel()  # … to one that leaves in the same moment
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert limiter.in_flight == 0
        await limiter.enter()

    run(main())


def test_two_that_are_cut_off_at_once_both_end_as_cancelled() -> None:
    async def main() -> None:
        limiter = Limiter(1)
        await limiter.enter()
        waiting = asyncio.create_task(limiter.enter())
        await asyncio.sleep(0)
        waiting.cancel()
        limiter.leave()  # the one that runs is cut off in the same moment, and looks for the next
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert limiter.in_flight == 0

    run(main())


def test_the_refusal_says_how_many() -> None:
    async def main() -> None:
        limiter = Limiter(1)
        await limiter.enter()
        waiting = asyncio.create_task(limiter.enter())
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequests, match="2 requests are in flight"):
            await limiter.enter()
        waiting.cancel()

    run(main())
