"""The thread that asks: what counts as an answer, and that one that hangs holds up no other."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable

import pytest

from phoundry.services.reconcile.prober import Prober, ask
from phoundry.services.reconcile.probing import Question, Target
from phoundry.specs.probe import Probe

TWICE = Probe(initial_delay=0, period=1, failure_threshold=2)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def put(handler: Handler, timeout: float = 10.0) -> bool:
    """What `ask` makes of a server."""
    stop = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handler(reader, writer)
        if not stop.is_set():
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = await ask(Question("one", "live", port, timeout, 0.0))
    stop.set()
    server.close()
    return found


@pytest.mark.parametrize(
    ("reply", "good"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", True),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", False),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", True),  # an older release has no such path
        (b"HTTP/1.1 404 Not Found\r\n\r\n", True),
        (b"SSH-2.0\r\n", False),
        (b"HTTP/1.1 \r\n", False),
        (b"", False),
    ],
)
def test_what_is_a_success(reply: bytes, good: bool) -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(reply)

    assert asyncio.run(put(answer)) is good
    assert heads[0].startswith(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:")


def test_a_process_that_hangs_fails_after_its_timeout() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the prober gives up

    assert asyncio.run(put(hang, timeout=0.05)) is False


def test_a_port_that_nobody_has_fails(free_ports: tuple[int, int]) -> None:
    assert asyncio.run(ask(Question("one", "ready", free_ports[0], 5.0, 0.0))) is False


def test_one_that_hangs_holds_up_no_other_and_changes_are_told() -> None:
    before = set(threading.enumerate())
    told = threading.Event()
    asked: list[Question] = []

    async def reply(question: Question) -> bool:
        asked.append(question)
        if question.key == "hangs":
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return question.key == "good"

    # A clock that makes a big step at every look: everything is due whenever it may be.
    clock = itertools.count(0.0, 10.0)
    prober = Prober(changed=told.set, ask=reply, clock=lambda: next(clock))
    try:
        names = ("hangs", "good", "bad")
        targets = {name: Target(1, TWICE, TWICE, started=0.0) for name in names}
        found = prober.watch(targets)
        while found["bad"].live or found["bad"].ready:
            assert told.wait(60), "nothing was told"
            told.clear()
            found = prober.watch(targets)
        assert (found["bad"].live, found["bad"].ready) == (False, False)
        assert (found["good"].live, found["hangs"].live) == (True, True)
        assert prober.watch({}) == {}
    finally:
        prober.close()
    assert sum(question.key == "hangs" for question in asked) == 2, "each kind once"
    assert set(threading.enumerate()) <= before


def test_where_nobody_is_watched_there_is_no_thread() -> None:
    before = set(threading.enumerate())
    prober = Prober()
    assert prober.watch({}) == {}
    assert set(threading.enumerate()) <= before
    prober.close()
