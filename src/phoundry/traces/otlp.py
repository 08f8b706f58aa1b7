"""Traces as OTLP's JSON: what a collector takes at `/v1/traces`.

The mapping is Protocol Buffers' own with OpenTelemetry's two exceptions: ids are hexadecimal and
enumerations are numbers (opentelemetry.io/docs/specs/otlp, "JSON Protobuf Encoding"). Attributes of
calls of models have the names of OpenTelemetry's conventions for generative AI.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from phoundry.flows.session.recorded import as_unicode
from phoundry.traces.trace import SpanData, Trace
from phoundry.version import __version__

INTERNAL, SERVER, CLIENT = 1, 2, 3
OK, ERROR = 1, 2
_DEPTH = 12  # spaces before a span in a request of 2 a level
_OPERATIONS = {
    "chat/completions": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
}
_PARAMETERS = ("temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty")


def pieces(traces: Iterable[Trace]) -> Iterator[str]:
    """The text of `request(traces)` as indented JSON, a span at a time: there may be many."""
    marker = '"spans": []'
    head, tail = json.dumps(request(()), ensure_ascii=False, indent=2).split(marker)
    yield f'{head}"spans": ['
    joint = ""
    for trace in traces:
        for span in trace.spans:
            text = json.dumps(_span(trace, span), ensure_ascii=False, indent=2)
            yield joint + f"\n{text}".replace("\n", "\n" + " " * _DEPTH)
            joint = ","
    end = "\n" + " " * (_DEPTH - 2) if joint else ""
    yield f"{end}]{tail}\n"


def request(traces: Iterable[Trace]) -> dict[str, Any]:
    """An `ExportTraceServiceRequest`."""
    spans = [_span(trace, span) for trace in traces for span in trace.spans]
    resource = {"service.name": "phoundry", "service.version": __version__}
    scope = {"name": "phoundry.flows", "version": __version__}
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(resource)},
                "scopeSpans": [{"scope": scope, "spans": spans}],
            }
        ]
    }


def _span(trace: Trace, span: SpanData) -> dict[str, Any]:
    found: dict[str, Any] = {
        "traceId": trace.trace_id,
        "spanId": trace.span_id(span["id"]),
        "name": as_unicode(_name(span)),
        "kind": _kind(trace, span),
        "startTimeUnixNano": str(span["start"]),
        "endTimeUnixNano": str(span["end"] or span["start"]),
        "attributes": _attributes(attributes(trace, span)),
        "status": {"code": OK},
    }
    if span["parent"] is not None:
        found["parentSpanId"] = trace.span_id(span["parent"])
    elif trace.origin.parent is not None:
        found["parentSpanId"] = trace.origin.parent
    if span["error"]:
        kind, message = map(as_unicode, span["error"])
        found["status"] = {"code": ERROR, "message": message}
        told = {"exception.type": kind, "exception.message": message}
        found["events"] = [
            {
                "timeUnixNano": str(span["end"] or span["start"]),
                "name": "exception",
                "attributes": _attributes(told),
            }
        ]
    return found


def _kind(trace: Trace, span: SpanData) -> int:
    if span["kind"] == "model":
        return CLIENT
    origin = trace.origin
    asked = span["parent"] is None and (origin.parent or origin.request or origin.endpoint)
    return SERVER if asked else INTERNAL


def _name(span: SpanData) -> str:
    if span["kind"] == "model":
        return f"{_operation(span)} {span['attributes'].get('model') or span['name']}"
    return str(span["name"])


def _operation(span: SpanData) -> str:
    asked = str(span["attributes"].get("operation", ""))
    return _OPERATIONS.get(asked, asked or "chat")


def attributes(trace: Trace, span: SpanData) -> dict[str, Any]:
    """The attributes of `span` under OpenTelemetry's names; what has none there is `phoundry.…`."""
    given: dict[str, Any] = dict(span["attributes"])
    found: dict[str, Any] = {"phoundry.kind": span["kind"]}
    if span["error"]:
        found["error.type"] = span["error"][0]
    if span["parent"] is None:
        found |= {"phoundry.flow": trace.flow, "phoundry.run": trace.run}
        found |= {"phoundry.line": trace.line, "phoundry.endpoint": trace.origin.endpoint}
        found |= {"phoundry.deployment": trace.origin.deployment}
        found |= {"phoundry.request_id": trace.origin.request}
    if span["kind"] == "model":
        found |= _of_model(span, given)
    found |= {f"phoundry.{name}": value for name, value in given.items()}
    return {name: value for name, value in found.items() if value is not None}


def _of_model(span: SpanData, given: dict[str, Any]) -> dict[str, Any]:
    """The conventions' attributes of a call of a model, taken out of `given`."""
    host, port = _server(str(given.pop("url", "") or ""))
    parameters: Any = given.get("parameters")
    asked: Any = given.pop("messages", None) or given.pop("prompt", None)
    answer, reason = given.pop("answer", None), given.pop("finish_reason", None)
    given.pop("operation", None)
    found: dict[str, Any] = {
        "gen_ai.operation.name": _operation(span),
        "gen_ai.provider.name": given.pop("provider", None) or "openai",
        "gen_ai.request.model": given.pop("model", None),
        "gen_ai.response.model": given.pop("response_model", None),
        "gen_ai.usage.input_tokens": given.pop("input_tokens", None),
        "gen_ai.usage.output_tokens": given.pop("output_tokens", None),
        "gen_ai.response.finish_reasons": [reason] if reason else None,
        "gen_ai.input.messages": _messages(asked, "user"),
        "gen_ai.output.messages": _messages(answer, "assistant"),
        "server.address": host,
        "server.port": port,
    }
    if isinstance(parameters, dict):
        values = cast("dict[str, Any]", parameters)
        found |= {f"gen_ai.request.{name}": values.get(name) for name in _PARAMETERS}
    return found


def _server(url: str) -> tuple[str | None, int | None]:
    try:
        address = urlsplit(url)
        return address.hostname, address.port
    except ValueError:
        return None, None


def _messages(asked: Any, role: str) -> str | None:
    """Messages in the conventions' shape, as JSON: `[{"role", "parts": [{"type", "content"}]}]`."""
    if asked is None:
        return None
    items: list[Any] = asked if isinstance(asked, list) else [asked]  # pyright: ignore[reportUnknownVariableType]
    return json.dumps([_message(item, role) for item in items], ensure_ascii=False)


def _message(item: Any, role: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        return {"role": role, "parts": [{"type": "text", "content": str(item)}]}
    message = cast("dict[str, Any]", item)
    content = message.get("content")
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    parts: list[dict[str, Any]] = [] if content is None else [{"type": "text", "content": text}]
    for call in cast("list[Any]", message.get("tool_calls") or []):
        function = call.get("function", {}) if isinstance(call, dict) else {}  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        parts.append({"type": "tool_call", **function})
    return {"role": str(message.get("role") or role), "parts": parts}


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    """An `AnyValue`; objects as the text of their JSON, which every collector's screen shows."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return {"intValue": str(value)}
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return {"doubleValue": value}
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if all(isinstance(item, str) for item in items):
            return {"arrayValue": {"values": [{"stringValue": as_unicode(item)} for item in items]}}
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    # A lone surrogate is no text for a collector.
    return {"stringValue": as_unicode(text)}
