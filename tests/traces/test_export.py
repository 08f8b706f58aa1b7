"""What a collector gets: OpenTelemetry's own message, read back by its own definition of it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

from phoundry.errors import Unavailable, UsageError
from phoundry.flows.session.recorded import pack
from phoundry.settings import Settings
from phoundry.traces.export import SPANS, Collector
from phoundry.traces.otlp import pieces, request
from phoundry.traces.record import Recorder
from phoundry.traces.store import TraceStore
from phoundry.traces.trace import Trace, new_trace
from tests.traces.conftest import START, FakeCollector, chat_spans, failed_spans, span


def parsed(*traces: Trace) -> list[Any]:
    """The spans of the message, as OpenTelemetry's definition reads it; unknown fields raise."""
    text = json.dumps(request(traces))
    message = Parse(text, ExportTraceServiceRequest())
    (resource,) = message.resource_spans
    named = {item.key: item.value.string_value for item in resource.resource.attributes}
    assert named["service.name"] == "phoundry"
    (scope,) = resource.scope_spans
    return list(scope.spans)


def test_a_message_in_pieces_is_the_same(store: TraceStore) -> None:
    traces = [new_trace(chat_spans(), "/flows/é"), new_trace(failed_spans(), "/flows/faq")]
    traces[0].spans[0]["attributes"]["inputs"] = {"q": "a\nb"}
    for some in ([], traces[:1], traces):
        whole = json.dumps(request(some), ensure_ascii=False, indent=2) + "\n"
        assert "".join(pieces(some)) == whole
    # Nothing is read before it is asked for.
    read: list[int] = []
    text = pieces(read.append(n) or trace for n, trace in enumerate(traces))
    next(text)
    next(text)
    assert read == [0]


def hexadecimal(id: bytes) -> str:
    # The one departure from Protocol Buffers' JSON: ids are hexadecimal, and were read as base64.
    return base64.b64encode(id).decode()


def plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    return getattr(value, kind or "string_value")


def test_a_trace_is_opentelemetrys_message() -> None:
    trace = new_trace(chat_spans(), "/flows/faq", run="batch", line=7)
    search, model, ask, flow = parsed(trace)
    assert {hexadecimal(each.trace_id) for each in (search, model, ask, flow)} == {trace.id}
    assert hexadecimal(flow.span_id) == trace.span_id(1)
    assert not flow.parent_span_id
    assert hexadecimal(model.parent_span_id) == hexadecimal(ask.span_id) == trace.span_id(3)
    assert (flow.start_time_unix_nano, flow.end_time_unix_nano) == (
        START + 1_000_000,
        START + 6_000_000,
    )
    assert (flow.name, search.name, model.name) == ("faq", "search", "chat smollm2")
    assert (flow.kind, model.kind) == (1, 3)
    assert flow.status.code == 1
    told = {item.key: plain(item.value) for item in flow.attributes}
    assert told["phoundry.flow"] == "/flows/faq"
    assert (told["phoundry.run"], told["phoundry.line"]) == ("batch", 7)
    assert json.loads(told["phoundry.output"]) == {"answer": "Hello."}


def test_a_call_of_a_model_has_the_conventions_names() -> None:
    _, model, _, _ = parsed(new_trace(chat_spans(), "f"))
    told = {item.key: plain(item.value) for item in model.attributes}
    known = {value for value in vars(gen_ai_attributes).values() if isinstance(value, str)}
    assert {name for name in told if name.startswith("gen_ai.")} <= known
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.request.model"] == "smollm2"
    assert told["gen_ai.request.temperature"] == 0.5
    assert told["gen_ai.usage.input_tokens"] == 12
    assert told["gen_ai.usage.output_tokens"] == 3
    assert told["gen_ai.response.finish_reasons"] == ["stop"]
    assert (told["server.address"], told["server.port"]) == ("127.0.0.1", 7411)
    asked = json.loads(told["gen_ai.input.messages"])
    assert asked[1] == {"role": "user", "parts": [{"type": "text", "content": "Hi"}]}
    answered = json.loads(told["gen_ai.output.messages"])
    assert answered == [{"role": "assistant", "parts": [{"type": "text", "content": "Hello."}]}]


def test_an_error_is_a_status_and_an_event() -> None:
    node, flow = parsed(new_trace(failed_spans(), "f"))
    assert (node.status.code, node.status.message) == (
        2,
        "Execution failure in 'n': (ValueError) bad",
    )
    (event,) = node.events
    told = {item.key: plain(item.value) for item in event.attributes}
    assert event.name == "exception"
    assert told["exception.type"] == "ToolExecutionError"
    assert flow.status.code == 1


def test_attributes_of_every_kind_can_be_written() -> None:
    odd = {
        "a": True, "b": 2**80, "c": float("nan"), "d": [1, "x"], "e": {"k": [None]}, "f": "\ud800",
        "g": -5, "h": ["x", "y"], "i": 0.5,
    }  # fmt: skip
    (only,) = parsed(new_trace([span(1, None, "function", "f", **odd)], "f"))
    told = {item.key.removeprefix("phoundry."): plain(item.value) for item in only.attributes}
    assert (told["a"], told["b"], told["c"], told["g"]) == (True, str(2**80), "NaN", -5)
    assert (told["d"], told["e"]) == ('[1, "x"]', '{"k": [null]}')
    assert (told["f"], told["h"], told["i"]) == ("?", ["x", "y"], 0.5)


def test_traces_are_sent_in_parts(collector: FakeCollector) -> None:
    traces = [new_trace(chat_spans(), "f") for _ in range(200)]
    there = Collector(collector.url, {"x-key": "secret"})
    assert there.send(iter(traces)) == 800
    assert collector.paths == ["/v1/traces", "/v1/traces"]
    assert collector.counts == [SPANS, 800 - SPANS]
    assert collector.headers[0]["x-key"] == "secret"
    assert collector.headers[0]["content-type"] == "application/json"


def test_a_busy_collector_is_asked_again_and_a_refusal_is_told(collector: FakeCollector) -> None:
    collector.statuses = [503, 429]
    assert Collector(f"{collector.url}/custom").send([new_trace(chat_spans(), "f")]) == 4
    assert collector.paths == ["/custom"] * 3
    collector.statuses = [400]
    with pytest.raises(Unavailable, match="did not take the traces: status 400"):
        Collector(collector.url).send([new_trace(chat_spans(), "f")])
    with pytest.raises(UsageError, match="is no address of a collector"):
        Collector("localhost:4318")


def test_a_named_collector_gets_every_run_and_a_dead_one_harms_none(
    store: TraceStore, collector: FakeCollector
) -> None:
    named = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"{collector.url}/"}
    named["OTEL_EXPORTER_OTLP_HEADERS"] = "a=b%20c"
    keeping = Recorder(store, Settings(named))
    ids = {keeping.put(spans, "/flows/faq") for spans in (chat_spans(), pack(chat_spans()))}
    keeping.flush()
    assert {each["traceId"] for each in collector.spans} == ids
    assert len(collector.spans) == 8
    assert collector.headers[0]["a"] == "b c"
    dead = Recorder(store, Settings({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/x"}))
    dead.put(chat_spans(), "/flows/faq")
    dead.flush()
    assert "The collector at http://127.0.0.1:9/x did not take" in (dead.problem or "")
    assert len(store.list()) == 3
