"""Keeping every slot of the engine full until all lines are answered, and the order kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from phoundry.errors import Cancelled, ModelError
from phoundry.serving.batch.answers import Answer, Answers, Counts, Reorder
from phoundry.serving.batch.asking import refused
from phoundry.serving.batch.requests import Bad, Request

FLUSH_SECONDS = 1.0
# Asked beyond the slots, so that a slot that gets free finds the next request already there.
AHEAD = 2
# So many lines may be answered while an earlier one is still being written: bounds what is held.
WINDOW = 512

Ask = Callable[[Request], Awaitable[Answer]]
Tell = Callable[[Counts, float], None]


@dataclass(slots=True)
class Scoring:
    """One run over what is left of a batch.

    `ask` answers one request; `tell` hears once a second what was written and how many seconds
    this run has taken. After `most_broken` requests in a row on which the engine failed, the job
    fails: those lines are not written, and are asked again when it is resumed.
    """

    todo: Iterator[Request | Bad]
    answers: Answers
    ask: Ask
    slots: int
    tell: Tell
    window: int = WINDOW
    most_broken: int = 16
    _order: Reorder[Answer] = field(init=False)
    _broken: list[Answer] = field(default_factory=list[Answer])
    _moved: asyncio.Condition = field(default_factory=asyncio.Condition)
    _begun_at: int = field(init=False)  # lines that earlier runs have written
    _failed: bool = False

    def __post_init__(self) -> None:
        self._begun_at = self.answers.counts.done
        self._order = Reorder(self._begun_at)

    async def run(self, stop: asyncio.Event) -> None:
        """Until every line is answered.

        Raises:
            Cancelled: `stop` was set. What was answered in order is on disk.
            ModelError: the engine fails on everything.
        """
        begun = time.monotonic()
        pullers = [asyncio.create_task(self._pull()) for _ in range(self.slots + AHEAD)]
        work = asyncio.gather(*pullers)
        stopping = asyncio.create_task(stop.wait())
        try:
            while not work.done() and not stopping.done():
                await asyncio.wait(
                    {work, stopping},
                    timeout=FLUSH_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                self._write(time.monotonic() - begun)
            if not work.done():
                raise Cancelled("The batch was told to stop.")
            await work
            if self._broken and self.answers.counts.done == self._begun_at:
                raise _all_broken(self._broken)
            self._settle()
        finally:
            for each in pullers:  # not `work`: it has ended once one of them has failed
                each.cancel()
            stopping.cancel()
            await asyncio.gather(work, *pullers, return_exceptions=True)
            self._write(time.monotonic() - begun)

    async def _pull(self) -> None:
        try:
            await self._take_each()
        except BaseException:
            self._failed = True
            raise

    async def _take_each(self) -> None:
        for each in self.todo:  # one iterator for all: each takes the next line
            async with self._moved:
                await self._moved.wait_for(lambda: each.index < self._order.following + self.window)  # noqa: B023 - awaited here
            answer = refused(each) if isinstance(each, Bad) else await self.ask(each)
            if self._failed:
                return  # what one of us has ended: written now, this would settle what must not be
            for ready in self._order.put(answer.index, answer):
                self._take(ready)
            async with self._moved:
                self._moved.notify_all()

    def _take(self, answer: Answer) -> None:
        """Write the next answer, unless it may be one of many that say only that all is broken."""
        if answer.broken:
            self._broken.append(answer)
            if len(self._broken) >= self.most_broken:
                raise _all_broken(self._broken)
            return
        self._settle()
        self.answers.add(answer)

    def _settle(self) -> None:
        """The engine answers others, so those it failed on are errors of their own."""
        for each in self._broken:
            self.answers.add(each)
        self._broken.clear()

    def _write(self, seconds: float) -> None:
        self.answers.flush()
        self.tell(self.answers.counts, seconds)


def _all_broken(answers: list[Answer]) -> ModelError:
    return ModelError(
        f"The engine failed on {len(answers)} requests in a row; the last one said: "
        f"{_said(answers[-1])}",
        remedy="See the job's log; once it is mended, `phoundry job resume` goes on.",
    )


def _said(answer: Answer) -> str:
    body: Any = answer.record["response"]["body"]
    try:
        return str(body["error"]["message"])[:300]
    except (KeyError, TypeError):
        return str(body)[:300]
