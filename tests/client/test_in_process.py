"""An app in this process behaves as one at the other end of a wire."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from hypothesis import given
from hypothesis import strategies as st

from phoundry.client.in_process import InProcessTransport

pieces = st.lists(st.binary(max_size=50), max_size=20)


@pytest.fixture
def app() -> FastAPI:
    return make_app({})


def make_app(seen: dict[str, Any]) -> FastAPI:
    app = FastAPI()

    @app.post("/echo")
    async def echo(request: Request) -> StreamingResponse:
        async def back() -> AsyncIterator[bytes]:
            async for piece in request.stream():
                yield piece

        return StreamingResponse(back())

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        def numbers() -> Iterator[bytes]:
            while True:
                seen["sent"] = seen.get("sent", 0) + 1
                yield b"x" * 1000

        return StreamingResponse(numbers())

    @app.get("/wait")
    async def wait(request: Request) -> None:
        while not await request.is_disconnected():
            seen["waiting"] = True
        seen["left"] = True

    @app.get("/fails")
    async def fails() -> None:
        raise ZeroDivisionError

    return app


def client(app: FastAPI) -> httpx.Client:
    return httpx.Client(base_url="http://app", transport=InProcessTransport(app))


ECHO = client(make_app({}))


@given(pieces)
def test_a_body_goes_in_and_comes_out_in_pieces(body: list[bytes]) -> None:
    answer = ECHO.post("/echo", content=iter(body))
    assert answer.content == b"".join(body)


def test_an_answer_is_read_while_it_is_made() -> None:
    """Neither side holds it whole: the app is never far ahead of its reader."""
    seen: dict[str, Any] = {}
    with client(make_app(seen)) as http, http.stream("GET", "/endless") as answer:
        received = answer.iter_raw()
        for _ in range(50):
            next(received)
        assert seen["sent"] < 50 + 20
    sent = seen["sent"]
    time.sleep(0.2)
    assert seen["sent"] == sent  # it has ended, and does not go on for nobody


def test_a_body_is_taken_as_it_is_made(app: FastAPI) -> None:
    made: list[int] = []

    def body() -> Iterator[bytes]:
        for number in range(1000):
            made.append(number)
            yield b"x" * 100

    with client(app) as http, http.stream("POST", "/echo", content=body()) as answer:
        next(answer.iter_raw())
        assert len(made) < 100


def test_who_stops_waiting_is_a_client_that_left(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    transport = InProcessTransport(make_app(seen))

    class Interrupted:
        def get(self) -> Any:
            deadline = time.monotonic() + 30
            while "waiting" not in seen and time.monotonic() < deadline:
                time.sleep(0.01)
            raise KeyboardInterrupt

        def put(self, message: Any, timeout: float) -> None:
            pytest.fail("nobody reads any more")

    monkeypatch.setattr("phoundry.client.in_process.Queue", lambda maxsize: Interrupted())
    with pytest.raises(KeyboardInterrupt):
        httpx.Client(transport=transport).get("http://app/wait")
    assert seen["left"]


def test_what_the_app_raises_comes_out(app: FastAPI) -> None:
    with pytest.raises(ZeroDivisionError):
        client(app).get("/fails")


def test_no_thread_stays(app: FastAPI) -> None:
    before = set(threading.enumerate())
    with client(app) as http:
        assert http.post("/echo", content=b"x" * 100_000).content == b"x" * 100_000
    assert set(threading.enumerate()) <= before
