"""`traceparent`, in and out: whose trace a run is, and what servers that it asks are told."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.flows.spans import asked_by, context_headers, recording, span
from phoundry.flows.tools.completions import CHAT, stream
from phoundry.flows.trace_context import Caller, new_id, read, span_id, written
from tests.flows.test_model_calls import Server, ask, server

__all__ = ["server"]

# The example of w3.org/TR/trace-context.
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = Caller(TRACE, SPAN, sampled=True)
HEX = "0123456789abcdef"


@given(
    st.text(HEX, min_size=32, max_size=32), st.text(HEX, min_size=16, max_size=16), st.booleans()
)
def test_what_is_written_is_read(trace: str, span: str, sampled: bool) -> None:
    found = read(written(trace, span, sampled=sampled).encode())
    valid = trace.strip("0") and span.strip("0")
    assert found == (Caller(trace, span, sampled) if valid else None)


@given(st.binary())
def test_nothing_else_is_a_caller(value: bytes) -> None:
    found = read(value)
    assert found is None or found.trace.encode() in value


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f" 00-{TRACE}-{SPAN}-03 ", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"cc-{TRACE}-{SPAN}-01.more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
    ],
)
def test_the_rules_of_the_standard(value: str, sampled: bool | None) -> None:
    assert read(value.encode()) == (Caller(TRACE, SPAN, sampled) if sampled is not None else None)


def test_servers_learn_the_span_that_asks_them() -> None:
    assert context_headers() == {}
    with recording() as quiet:
        assert context_headers() == {}
    assert quiet.id is None
    with recording(told=True) as own, span("model", "m") as it:
        assert it is not None
        assert own.id is not None
        header = context_headers()["traceparent"]
        assert header == f"00-{own.id}-{span_id(own.id, it.id)}-01"
    with recording(told=True, caller=CALLER) as joined, span("model", "m"):
        _, trace, parent, flags = context_headers()["traceparent"].split("-")
        assert (trace, flags) == (TRACE, "01")
        assert parent == span_id(str(joined.id), 1) != SPAN


def test_without_a_record_the_caller_passes_through() -> None:
    with asked_by(CALLER):
        assert context_headers() == {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    assert context_headers() == {}


def test_calls_of_models_tell_it(server: Server) -> None:
    ask(server)
    assert server.contexts == [None]
    with recording(told=True, caller=CALLER) as found, span("node", "n"):
        ask(server)
        event = {"choices": [{"delta": {"content": "a"}}]}
        text = f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n"
        server.plan = [(200, {"Content-Type": "text/event-stream"}, text)]
        pieces = stream(server.target, CHAT, {"model": "gpt", "messages": []}, node="n")
        assert list(pieces) == ["a"]
    models = [each.id for each in found.spans if each.kind == "model"]
    assert len(models) == 2
    expected = [f"00-{TRACE}-{span_id(str(found.id), number)}-01" for number in models]
    assert server.contexts[1:] == expected


def test_ids_are_new_and_of_the_right_length() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("[0-9a-f]{32}", id) for id in ids)
    assert re.fullmatch("[0-9a-f]{16}", span_id(new_id(), 0xFFFFFFF))
