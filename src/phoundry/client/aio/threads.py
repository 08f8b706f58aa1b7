"""One synchronous call on a thread of its own, awaited; and callbacks back into the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import wait
from contextlib import suppress
from contextvars import copy_context
from inspect import isawaitable
from typing import Any, ParamSpec, TypeVar

from phoundry.client.waiting import STOP, Abandoned, Stop

P = ParamSpec("P")
T = TypeVar("T")
SOON = 0.2  # seconds between two looks whether somebody still waits


async def in_thread(work: Callable[[], T]) -> T:
    """What `work` returns or raises.

    Cancelled, it returns at once; `work` ends at its next `pause`, or when its request is answered.
    The threads are daemons: the interpreter's exit never waits for one.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    stop = Stop()

    def settle(error: BaseException | None, result: T) -> None:
        if done.done():
            return  # cancelled meanwhile
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def run() -> None:
        STOP.set(stop)
        result: Any = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - carried over to who awaits
            failure = error
        with suppress(RuntimeError):  # the loop has ended, and nobody awaits
            loop.call_soon_threadsafe(settle, failure, result)

    threading.Thread(target=copy_context().run, args=(run,), daemon=True).start()
    try:
        return await done
    except asyncio.CancelledError:
        stop.set()
        raise


def told(callback: Callable[P, Awaitable[None] | None] | None) -> Callable[P, None]:
    """`callback`, to be called from a thread: it runs in this event loop, and may be `async`.

    Where the call is abandoned, telling ends it; so there is something to call for None, too.
    """
    known = asked(callback)

    def tell(*args: P.args, **kwargs: P.kwargs) -> None:
        _check_awaited()
        if known is not None:
            known(*args, **kwargs)

    return tell


def asked(callback: Callable[P, Awaitable[T] | T] | None) -> Callable[P, T] | None:
    """As `told`, for a callback that answers; None stays None."""
    if callback is None:
        return None
    loop, known = asyncio.get_running_loop(), callback

    def ask(*args: P.args, **kwargs: P.kwargs) -> T:
        _check_awaited()
        return _answer_of(loop, lambda: known(*args, **kwargs))

    return ask


def _answer_of(loop: asyncio.AbstractEventLoop, call: Callable[[], Awaitable[T] | T]) -> T:
    async def answer() -> T:
        found: Any = call()
        return await found if isawaitable(found) else found

    coming = asyncio.run_coroutine_threadsafe(answer(), loop)
    while not wait([coming], timeout=SOON).done:
        _check_awaited()
    return coming.result()


def _check_awaited() -> None:
    """Raises Abandoned where nobody waits for this call any more."""
    stop = STOP.get()
    if stop is not None and stop.is_set():
        raise Abandoned
