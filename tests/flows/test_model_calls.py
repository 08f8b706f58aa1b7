"""Calls of models: what is tried again, the pooled client, spans."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from phoundry.flows.errors import OpenAIError
from phoundry.flows.spans import recording
from phoundry.flows.tools import http
from phoundry.flows.tools.completions import CHAT, complete, stream
from phoundry.flows.tools.http import Target, close_clients
from phoundry.flows.tools.model_errors import (
    APIConnectionError,
    RateLimitError,
    UnprocessableEntityError,
)

KEY = "canary-8812"
ANSWER = {
    "choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}


class Server:
    """Answers with `plan`, one `(status, headers, body)` a request, the last one for ever."""

    def __init__(self) -> None:
        self.plan: list[tuple[int, dict[str, str], Any]] = [(200, {}, ANSWER)]
        self.requests = 0
        self.connections: set[tuple[str, int]] = set()
        self.contexts: list[str | None] = []  # the traceparent of each request
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                server.connections.add(self.client_address)
                server.contexts.append(self.headers.get("traceparent"))
                status, headers, body = server.plan[min(server.requests, len(server.plan) - 1)]
                server.requests += 1
                if status == 0:  # hang up without an answer
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def target(self) -> Target:
        url = f"http://127.0.0.1:{self.http.server_port}/v1"
        return Target(url, {"Authorization": f"Bearer {KEY}"}, "gpt")


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    close_clients()
    found.http.shutdown()
    found.http.server_close()


def ask(server: Server) -> dict[str, Any]:
    messages = [{"role": "user", "content": "well?"}]
    return complete(server.target, CHAT, {"model": "gpt", "messages": messages}, node="n")


def test_calls_share_a_connection(server: Server) -> None:
    for _ in range(4):
        ask(server)
    assert server.requests == 4
    assert len(server.connections) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_the_server_says_will_pass_is_asked_again(server: Server, status: int) -> None:
    busy = (status, {"Retry-After": "0"}, {"error": "busy"})
    server.plan = [busy, busy, (200, {}, ANSWER)]
    assert ask(server) == ANSWER
    assert server.requests == 3


def test_the_tries_end(server: Server) -> None:
    server.plan = [(429, {"Retry-After": "0"}, {"error": "busy"})]
    with pytest.raises(RateLimitError, match="busy"):
        ask(server)
    assert server.requests == http.TRIES + 1


def test_what_can_not_be_processed_is_asked_three_times(server: Server) -> None:
    server.plan = [(422, {"Retry-After": "0"}, {"error": "no"})]
    with pytest.raises(UnprocessableEntityError):
        ask(server)
    assert server.requests == 3


def test_a_wait_longer_than_our_patience_is_not_begun(server: Server) -> None:
    server.plan = [(429, {"Retry-After": "86400"}, {"error": "tomorrow"})]
    with pytest.raises(RateLimitError, match="tomorrow"):
        ask(server)
    assert server.requests == 1


@pytest.mark.parametrize("status", [400, 401, 404])
def test_what_is_wrong_stays_wrong(server: Server, status: int) -> None:
    server.plan = [(status, {"Retry-After": "0"}, {"error": "no"})]
    with pytest.raises(OpenAIError):
        ask(server)
    assert server.requests == 1


def test_elsewhere_the_waits_grow_as_prompt_flows_do(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(http, "LOCAL", ())
    monkeypatch.setattr(http.time, "sleep", waits.append)
    server.plan = [(500, {}, {"error": "no"})]
    with pytest.raises(OpenAIError):
        ask(server)
    assert waits[:4] == [3, 4, 6, 10]
    assert sum(waits) <= http.PATIENCE


def test_nothing_left_to_spend_is_not_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "LOCAL", ())
    server.plan = [(429, {}, {"error": {"message": "pay", "type": "insufficient_quota"}})]
    with pytest.raises(RateLimitError, match="pay"):
        ask(server)
    assert server.requests == 1


def test_a_kept_connection_that_was_closed_is_replaced(server: Server) -> None:
    server.plan = [(200, {}, ANSWER), (0, {}, ""), (200, {}, ANSWER)]
    ask(server)
    assert ask(server) == ANSWER
    assert len(server.connections) == 2


def test_a_server_that_always_hangs_up_is_an_error(server: Server) -> None:
    server.plan = [(0, {}, "")]
    with pytest.raises(APIConnectionError):
        ask(server)
    assert server.requests == 2


def test_a_call_is_a_span_without_the_key(server: Server) -> None:
    with recording() as found:
        ask(server)
    [span] = found.spans
    assert (span.kind, span.name) == ("model", "gpt")
    assert span.attributes["answer"] == {"content": "yes"}
    assert span.attributes["messages"] == [{"role": "user", "content": "well?"}]
    assert (span.attributes["input_tokens"], span.attributes["output_tokens"]) == (3, 1)
    assert KEY not in json.dumps(span.to_dict())


def test_a_stream_is_a_span_that_ends_with_its_last_piece(server: Server) -> None:
    event = {"choices": [{"delta": {"content": "a"}}]}
    text = f"data: {json.dumps(event)}\n\n" * 3 + "data: [DONE]\n\n"
    server.plan = [(200, {"Content-Type": "text/event-stream"}, text)]
    with recording() as found:
        pieces = list(stream(server.target, CHAT, {"model": "gpt", "messages": []}, node="n"))
    assert pieces == ["a"] * 3
    assert found.spans[0].attributes["answer"] == "aaa"
    assert found.spans[0].end > found.spans[0].start


def test_a_call_that_fails_says_so_in_its_span(server: Server) -> None:
    server.plan = [(401, {}, {"error": "who?"})]
    with recording() as found, pytest.raises(OpenAIError):
        ask(server)
    assert found.spans[0].error is not None
    assert found.spans[0].error[0] == "AuthenticationError"
