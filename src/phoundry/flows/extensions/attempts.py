"""`retry` and `timeout`: a node's call, more than once, each within its time."""

from __future__ import annotations

import asyncio
import queue
import random
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from phoundry.flows import spans
from phoundry.flows.errors import FlowDepthExceeded, FlowError, NodeTimeout
from phoundry.flows.extensions.keys import Retry
from phoundry.flows.workers import loop, workers

Call = Callable[[dict[str, Any]], Any]
LONGEST_WAIT = 300.0  # seconds between two attempts, however often `backoff` has multiplied


@dataclass(frozen=True, slots=True)
class Attempts:
    """`call` of `node` with its `retry` and `timeout` (seconds for one attempt).

    Raises (when called):
        FlowError: of the last attempt, or of the first one that is not to be tried again.
    """

    node: str
    call: Call
    retry: Retry | None
    timeout: float | None

    def __call__(self, arguments: dict[str, Any]) -> Any:
        most = self.retry.max_attempts if self.retry else 1
        for number in range(1, most + 1):
            try:
                value = self._once(dict(arguments))
            except FlowError as error:
                if self.retry is None or number == most or not tried_again(error, self.retry):
                    spans.note(attempts=number)
                    raise
                time.sleep(waiting(self.retry, number))
            else:
                spans.note(attempts=number)
                return value
        raise AssertionError("the last attempt returns or raises")

    def _once(self, arguments: dict[str, Any]) -> Any:
        if self.timeout is None:
            return self.call(arguments)
        later = getattr(self.call, "later", None)
        if later is not None:
            try:
                return loop().run(asyncio.wait_for(later(arguments), self.timeout))
            except TimeoutError:
                raise self._late() from None
        # A thread can't be ended: it is left behind, and ends with its tool or the process.
        answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        workers().submit(copy_context().run, _answer, self.call, arguments, answers)
        try:
            value, error = answers.get(timeout=self.timeout)
        except queue.Empty:
            raise self._late() from None
        if error is not None:
            raise error
        return value

    def _late(self) -> NodeTimeout:
        return NodeTimeout(
            f"Node '{self.node}' did not finish within {self.timeout:g} seconds.",
            remedy="Raise its `timeout`, or look for what it waits for.",
        )


def _answer(
    call: Call,
    arguments: dict[str, Any],
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]],
) -> None:
    try:
        answers.put((call(arguments), None))
    except BaseException as error:  # noqa: BLE001 - raised again in the waiting thread
        answers.put((None, error))


def tried_again(error: FlowError, retry: Retry) -> bool:
    """Whether `on` names the failure: a code, or a class of the exception that the tool raised."""
    if isinstance(error, FlowDepthExceeded):
        return False
    if not retry.on:
        return True
    names = {*error.codes, str((error.details or {}).get("type"))}
    if isinstance(error, NodeTimeout):
        names.add("TimeoutError")
    cause = error.__cause__ or error.__context__
    if cause is not None:
        names |= {kind.__name__ for kind in type(cause).__mro__[:-1]}
    return not names.isdisjoint(retry.on)


def waiting(retry: Retry, number: int) -> float:
    """Seconds to wait after attempt `number`, counted from 1."""
    try:
        wait = min(retry.delay * retry.backoff ** min(number - 1, 64), LONGEST_WAIT)
    except OverflowError:
        wait = LONGEST_WAIT if retry.delay else 0.0
    return wait + random.uniform(0, retry.jitter)  # noqa: S311 - spreads load, guards nothing
