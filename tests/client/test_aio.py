"""`AsyncClient`: the same answers, awaited; cancelled, it leaves nothing behind."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from phoundry.client import AsyncClient
from phoundry.client.aio.chat import AsyncEndpointChat
from phoundry.client.aio.runner import AT_ONCE
from phoundry.client.chat import EndpointChat
from phoundry.client.generate.__main__ import main as generate
from phoundry.errors import ModelError, NotFound, Unauthenticated, Unavailable
from phoundry.settings import Home
from phoundry.specs.endpoint import EndpointSpec
from phoundry.specs.job import FineTuningJobSpec, Job
from tests.client.fake_api import FakeApi
from tests.client.flow_folders import echo_flow, sleeping_flow

SPEC = FineTuningJobSpec(name="job-1", model="m", training_data="faq:1")
ROWS = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


def test_what_is_there_is_what_would_be_generated() -> None:
    assert generate(["--check"]) == 0


def ended(threads: set[threading.Thread], seconds: float = 30) -> bool:
    """Whether only `threads` run, within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if set(threading.enumerate()) <= threads:
            return True
        time.sleep(0.01)
    return False


def test_the_journey_of_a_job(api: FakeApi) -> None:
    async def walk() -> tuple[Job, list[str], str]:
        async with AsyncClient() as client:
            await client.jobs.create(SPEC)
            api.job_states = [{"status": "Running"}, {"status": "Completed"}]
            seen: list[str] = []
            home = threading.current_thread()

            async def tell(job: Job) -> None:
                assert threading.current_thread() is home
                await asyncio.sleep(0)
                seen.append(job.status)

            done = await client.jobs.wait("job-1", tell)
            log = "".join([piece async for piece in client.jobs.follow("job-1")])
            return done, seen, log

    done, seen, log = asyncio.run(walk())
    assert done.status == "Completed"
    assert seen == ["Running", "Completed"]
    assert log == api.log


def test_a_callback_that_fails_fails_the_call(api: FakeApi) -> None:
    def refuse(job: Job) -> None:
        raise LookupError(job.name)

    async def walk() -> None:
        async with AsyncClient() as client:
            await client.jobs.create(SPEC)
            await client.jobs.wait("job-1", refuse)

    with pytest.raises(LookupError, match="job-1"):
        asyncio.run(walk())


def test_errors_are_the_same(api: FakeApi) -> None:
    async def ask() -> None:
        async with AsyncClient() as client:
            await client.endpoints.show("none")

    with pytest.raises(NotFound, match="none"):
        asyncio.run(ask())


def test_more_calls_at_once_than_there_are_places(api: FakeApi) -> None:
    async def ask() -> int:
        async with AsyncClient() as client:
            await client.endpoints.create(EndpointSpec(name="faq"))
            many = (client.endpoints.show("faq") for _ in range(3 * AT_ONCE))
            found = await asyncio.gather(*many)
            return sum(each.name == "faq" for each in found)

    assert asyncio.run(ask()) == 3 * AT_ONCE


def test_waits_keep_no_other_call_out(api: FakeApi) -> None:
    async def ask() -> str:
        async with AsyncClient() as client:
            await client.jobs.create(SPEC)
            waits = [asyncio.create_task(client.jobs.wait("job-1")) for _ in range(AT_ONCE + 2)]
            await asyncio.sleep(0.05)
            status = (await asyncio.wait_for(client.jobs.cancel("job-1"), 30)).status
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            return status

    assert asyncio.run(ask()) == "CancelRequested"


@pytest.mark.parametrize("verb", ["wait", "follow"])
def test_a_cancelled_wait_ends_its_thread(
    api: FakeApi, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("waiting", "jobs"):  # longer than anything here is waited for
        monkeypatch.setattr(f"phoundry.client.{module}.LONGEST", 600.0)
    monkeypatch.setattr("phoundry.client.waiting.SHORTEST", 600.0)
    before = set(threading.enumerate())
    api.log = ""

    async def drain(pieces: AsyncIterator[str]) -> None:
        async for _ in pieces:
            pass

    async def ask() -> bool:
        async with AsyncClient() as client:
            await client.jobs.create(SPEC)
            api.chunk = lambda query: {"text": "", "offset": 0, "finished": False}  # type: ignore[method-assign]
            waits: dict[str, Callable[[], Any]] = {
                "wait": lambda: client.jobs.wait("job-1"),
                "follow": lambda: drain(client.jobs.follow("job-1")),
            }
            task = asyncio.create_task(waits[verb]())
            await asyncio.sleep(0.3)
            begun = time.monotonic()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return time.monotonic() - begun < 30

    assert asyncio.run(ask())
    # The fake's own threads end with their connections, which the client has closed.
    assert ended(before)


def test_in_this_process_with_no_control_plane(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_bytes(ROWS * 1 + ROWS.replace(b'"a"', b'"c"'))
    said: list[str] = []

    async def walk() -> bytes:
        async with AsyncClient(home) as client:
            told = lambda what, done, total: said.append(what)  # noqa: E731
            made = await client.data.create("faq", source, test_size=0, on_progress=told)
            assert made.train.rows == 2
            rows, listed = await asyncio.gather(client.data.rows("faq"), client.data.list())
            assert len(rows) == 2
            assert [each.name for each in listed] == ["faq"]
            with pytest.raises(NotFound):
                async with client.data.stream("none"):
                    pass
            async with client.data.stream("faq") as pieces:
                return b"".join([piece async for piece in pieces])

    assert asyncio.run(walk()).count(b"\n") == 2
    assert "Copying" in said


def test_an_export_left_in_the_middle(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_bytes(b"".join(ROWS.replace(b'"a"', b'"%d"' % n) for n in range(5000)))

    async def walk() -> int:
        async with AsyncClient(home) as client:
            await client.data.create("faq", source)
            async with client.data.stream("faq") as pieces:
                assert await anext(pieces)
            return len(await client.data.list())

    assert asyncio.run(walk()) == 1


def test_chat_streams(api: FakeApi) -> None:
    async def walk() -> list[str]:
        async with AsyncClient() as client:
            await client.endpoints.create(EndpointSpec(name="faq"))
            chat = await client.chat("faq")
            question = [{"role": "user", "content": "Hi"}]
            return [piece async for piece in chat.stream(question, max_tokens=5)]

    assert asyncio.run(walk()) == ["Hel", "lo."]
    assert api.chats[0]["max_tokens"] == 5
    assert api.chats[0]["stream"] is True


def test_chat_fails_as_it_does_synchronously(api: FakeApi) -> None:
    def ask(url: str, key: str) -> list[str]:
        chat = AsyncEndpointChat(EndpointChat(url, "faq", key))

        async def walk() -> list[str]:
            return [piece async for piece in chat.stream([])]

        return asyncio.run(walk())

    with pytest.raises(Unauthenticated, match="key is wrong"):
        ask(f"{api.url}/v1", "wrong")
    with pytest.raises(Unavailable, match="No gateway answers"):
        ask("http://127.0.0.1:9/v1", "wrong")
    assert "wrong" not in repr(AsyncEndpointChat(EndpointChat("u", "faq", "wrong")))


def test_a_cancelled_chat_hangs_up() -> None:
    gone = threading.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        writer.write(b'data: {"choices": [{"delta": {"content": "One"}}]}\n\n')
        await writer.drain()
        while await reader.read(1000):
            pass  # until the other side closes
        gone.set()
        writer.close()

    async def walk() -> list[str]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        chat = AsyncEndpointChat(EndpointChat(f"http://127.0.0.1:{port}/v1", "faq", "k"))
        seen: list[str] = []

        async def read() -> None:
            async for piece in chat.stream([]):
                seen.append(piece)

        task = asyncio.create_task(read())
        while not seen:
            await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        async with asyncio.timeout(30):
            while not gone.is_set():
                await asyncio.sleep(0.01)
        server.close()
        return seen

    assert asyncio.run(walk()) == ["One"]


def test_an_answer_that_breaks_off_is_an_error(api: FakeApi) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")  # all of it: what is left unread would reset the connection
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        writer.write(b'data: {"choices": [{"delta": {"content": "One"}}]}\n\n')
        await writer.drain()
        writer.close()

    async def walk() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            chat = AsyncEndpointChat(EndpointChat(f"http://127.0.0.1:{port}/v1", "faq", "k"))
            async for _ in chat.stream([]):
                pass

    with pytest.raises(ModelError, match="broke off"):
        asyncio.run(walk())


def test_a_flow_is_run_and_chatted_with(home: Home, tmp_path: Path) -> None:
    flow = echo_flow(tmp_path / "flow")

    async def walk() -> list[str]:
        async with AsyncClient(home) as client:
            result = await client.flows.run(flow, {"question": "Q"})
            assert result.output == {"answer": "0: Q"}
            async with await client.flows.session(flow) as session:
                assert (await session.run({"question": "R"})).output == {"answer": "0: R"}
            async with await client.flows.chat(flow) as chat:
                said = ["".join([piece async for piece in chat.ask(text)]) for text in "ab"]
                assert len(chat.history) == 2
                chat.reset()
                return [*said, "".join([piece async for piece in chat.ask("c")])]

    assert asyncio.run(walk()) == ["0: a", "1: b", "0: c"]


@pytest.mark.parametrize("verb", ["run", "chat"])
def test_a_cancelled_flow_ends_with_its_process(home: Home, tmp_path: Path, verb: str) -> None:
    flow = sleeping_flow(tmp_path / "flow")
    pid_file = flow / "pid"

    async def walk() -> str:
        async with AsyncClient(home) as client:
            if verb == "run":
                running: Any = client.flows.run(flow, {"question": "sleep"})
            else:
                chat = await client.flows.chat(flow)
                running = anext(chat.ask("sleep"))
            task = asyncio.ensure_future(running)
            async with asyncio.timeout(60):
                while not pid_file.exists() or not pid_file.read_text():
                    await asyncio.sleep(0.02)
            pid = int(pid_file.read_text())
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            async with asyncio.timeout(30):  # the tool sleeps for longer
                while psutil.pid_exists(pid):
                    await asyncio.sleep(0.02)
            # Another turn starts another process.
            if verb == "run":
                return str((await client.flows.run(flow, {"question": "hi"})).output)
            said = "".join([piece async for piece in chat.ask("hi")])
            await chat.close()
            return said

    assert "awake: hi" in asyncio.run(walk())


def test_a_program_ends_at_once_though_a_call_hangs(tmp_path: Path) -> None:
    """The interpreter's exit waits for no thread."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        script = f"""
import asyncio
from phoundry import AsyncClient

async def main():
    url = "http://127.0.0.1:{silent.getsockname()[1]}"
    async with AsyncClient({str(tmp_path)!r}, url, "t") as client:
        try:
            await asyncio.wait_for(client.status(), 0.3)
        except TimeoutError:
            print("given up")

asyncio.run(main())
"""
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            timeout=40,  # the request's own limit is 60 seconds
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, "given up\n"), done.stderr
