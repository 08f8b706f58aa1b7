"""How llama.cpp's events are read: the first and the last at once, the others together."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from phoundry.errors import ModelError
from phoundry.serving.engines import llamacpp_wire
from phoundry.serving.engines.llamacpp_wire import Answer, Listener

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
Script = Callable[[asyncio.StreamWriter], Awaitable[None]]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(number: int) -> bytes:
    return b"data: " + json.dumps({"n": number}).encode() + b"\n\n"


@asynccontextmanager
async def listening(script: Script) -> AsyncGenerator[Listener]:
    """A server that reads a request's head and then does what `script` says."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await script(writer)
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    try:
        yield Listener(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "key")
    finally:
        server.close()


def paced(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    def pause(streams: int) -> float:
        return seconds

    monkeypatch.setattr(llamacpp_wire, "pause", pause)


async def numbers(answer: Answer) -> list[int]:
    return [event["n"] for event in await answer.events()]


def run(script: Script, talk: Callable[[Listener], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(20), listening(script) as listener:
            return await talk(listener)

    return asyncio.run(main())


def test_the_end_waits_for_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first event comes alone; the next look would be in an hour, and the end is not."""
    paced(monkeypatch, 3600)
    more = asyncio.Event()

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(event(1)))
        await more.wait()
        for number in range(2, 6):
            writer.write(chunk(event(number)))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async def talk(listener: Listener) -> list[int]:
        answer = await listener.post("/completion", {})
        found = await numbers(answer)
        assert found == [1]
        assert listener.streams == 1
        more.set()
        while part := await numbers(answer):
            found += part
        answer.close()
        assert listener.streams == 0
        return found

    assert run(script, talk) == [1, 2, 3, 4, 5]


def test_a_look_takes_what_has_come_of_all_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    paced(monkeypatch, 0.05)
    more = asyncio.Event()

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(event(1)))
        await more.wait()
        for number in (2, 3, 4):
            writer.write(chunk(event(number)))
            await writer.drain()
        await asyncio.sleep(3600)  # neither more nor an end

    async def talk(listener: Listener) -> list[list[int]]:
        answers = [await listener.post("/completion", {}) for _ in range(2)]
        assert [await numbers(answer) for answer in answers] == [[1], [1]]
        more.set()
        found: list[list[int]] = []
        for answer in answers:
            got: list[int] = []
            while len(got) < 3:
                got += await numbers(answer)
            found.append(got)
            answer.close()
        return found

    assert run(script, talk) == [[2, 3, 4], [2, 3, 4]]


def test_who_is_slower_than_looks_is_told_of_each_event(monkeypatch: pytest.MonkeyPatch) -> None:
    paced(monkeypatch, 0.001)
    wanted: asyncio.Queue[int] = asyncio.Queue()

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        while number := await wanted.get():
            writer.write(chunk(event(number)))

    async def talk(listener: Listener) -> list[list[int]]:
        answer = await listener.post("/completion", {})
        found: list[list[int]] = []
        for number in (1, 2, 3):
            await asyncio.sleep(0.005)
            wanted.put_nowait(number)
            found.append(await numbers(answer))
        wanted.put_nowait(0)
        answer.close()
        return found

    assert run(script, talk) == [[1], [2], [3]]


@pytest.mark.parametrize("at", [1, 4, 9, 30])
def test_half_an_event_is_no_event(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Wherever the network cuts: what rests is woken for the other half."""
    paced(monkeypatch, 0.001)
    whole = chunk(event(1) + event(2))

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(event(0)))
        await asyncio.sleep(0.01)
        writer.write(whole[:at])
        await asyncio.sleep(0.01)
        writer.write(whole[at:])
        await asyncio.sleep(3600)

    async def talk(listener: Listener) -> list[int]:
        answer = await listener.post("/completion", {})
        found: list[int] = []
        while len(found) < 3:
            found += await numbers(answer)
        answer.close()
        return found

    assert run(script, talk) == [0, 1, 2]


def test_a_whole_answer_is_read_at_its_end() -> None:
    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for number in range(1000):
            writer.write(chunk(event(number)))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async def talk(listener: Listener) -> tuple[list[int], int]:
        answer = await listener.post("/completion", {}, lazy=True)
        found, looks = list[int](), 0
        while part := await numbers(answer):
            found, looks = found + part, looks + 1
        answer.close()
        return found, looks

    found, looks = run(script, talk)
    assert found == list(range(1000))
    assert looks < 100  # 1,000 events of 20 bytes, and 64 KiB at once


def test_who_breaks_off_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    paced(monkeypatch, 3600)

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(event(1)) + b"20\r\ndata: {")

    async def talk(listener: Listener) -> None:
        answer = await listener.post("/completion", {})
        assert await numbers(answer) == [1]
        with pytest.raises(ModelError, match="broke its answer off"):
            await answer.events()
        answer.close()
        answer.close()  # twice is once

    run(script, talk)


def test_nobody_listens() -> None:
    async def script(writer: asyncio.StreamWriter) -> None:
        """Nothing."""

    async def talk(listener: Listener) -> Listener:
        return listener

    gone = run(script, talk)
    with pytest.raises(ModelError, match="stopped answering"):
        asyncio.run(gone.get("/metrics"))
