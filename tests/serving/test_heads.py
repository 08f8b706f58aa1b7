"""What stands before a body is bounded, on a real connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil
import pytest

from phoundry.serving.heads import HEAD_LIMIT
from tests.serving.conftest import Gateway
from tests.serving.processes import Worker

MEGABYTE = 1 << 20


@pytest.fixture(params=["gateway", "replica"])
def server(request: pytest.FixtureRequest, gateway: Gateway, echo: Worker) -> Worker:
    return gateway.worker if request.param == "gateway" else echo


def exchange(server: Worker, parts: Iterator[bytes] | list[bytes]) -> bytes:
    """Send the parts until the server hangs up; what it answered."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as peer:
        try:
            for part in parts:
                peer.sendall(part)
            answer = b""
            while piece := peer.recv(65536):
                answer += piece
        except ConnectionError:
            return b""  # it hung up while we were still sending
    return answer


def request(*headers: bytes) -> bytes:
    closing = b"Host: 127.0.0.1\r\nConnection: close\r\n"
    return b"GET /healthz HTTP/1.1\r\n" + closing + b"".join(headers) + b"\r\n"


def test_as_much_as_the_limit_passes(gateway: Gateway) -> None:
    filler = b"X-Filler: " + b"x" * (HEAD_LIMIT - 1000) + b"\r\n"
    assert exchange(gateway.worker, [request(filler)]).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "head",
    [
        request(b"X-Filler: " + b"x" * HEAD_LIMIT + b"\r\n"),
        request(*[b"X-Filler-%d: xxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n" % n for n in range(3000)]),
        b"GET /" + b"x" * HEAD_LIMIT + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
    ids=["one", "many", "path"],
)
def test_more_is_431_before_a_key_is_looked_at(server: Worker, head: bytes) -> None:
    answers = [exchange(server, [head]) for _ in range(5)]
    # It may hang up while the rest is still on its way, and then its words are lost.
    assert all(answer.startswith(b"HTTP/1.1 431") or not answer for answer in answers)
    assert exchange(server, [request()]).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize(
    "opening",
    [
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Filler: ",
        b"POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: ",
    ],
    ids=["header", "trailer"],
)
def test_an_endless_one_does_not_fill_the_memory(server: Worker, opening: bytes) -> None:
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield opening
        while sent < 200 * MEGABYTE:
            sent += MEGABYTE
            yield b"x" * MEGABYTE

    exchange(server, endless())
    assert sent < 200 * MEGABYTE
    assert process.memory_info().rss - before < 50 * MEGABYTE
    assert exchange(server, [request()]).startswith(b"HTTP/1.1 ")


def test_large_bodies_and_many_requests_on_one_connection_pass(gateway: Gateway) -> None:
    with gateway.client(key=None) as client:
        for _ in range(30):  # their heads together are larger than the limit
            assert client.get("/healthz", headers={"X-Filler": "x" * 8000}).status_code == 200
