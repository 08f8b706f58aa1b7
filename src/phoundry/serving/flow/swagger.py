"""A served flow's OpenAPI document, with the marks by which clients know a chat."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from phoundry.flows.model import Flow, FlowInput, FlowOutput
from phoundry.flows.returned import OUTPUT

_TYPES = {
    "int": "integer",
    "double": "number",
    "bool": "boolean",
    "list": "array",
    "object": "object",
    "image": "object",
}


def describe(flow: Flow, hidden: Collection[str] = ()) -> dict[str, Any]:
    """The document of a flow; `hidden` outputs are left out."""
    name = flow.root.name
    info: dict[str, Any] = {
        "title": f"Promptflow[{name}] API",
        "version": "1.0.0",
        "x-flow-name": name,
    }
    for field, item in flow.inputs.items():
        if item.is_chat_input:
            info |= {"x-chat-input": field, "x-flow-type": "chat"}
        if item.is_chat_history:
            info["x-chat-history"] = field
    for field, output in flow.outputs.items():
        if output.is_chat_output:
            info["x-chat-output"] = field
    bearer = {"type": "http", "scheme": "bearer"}
    return {
        "openapi": "3.0.0",
        "info": info,
        "components": {"securitySchemes": {"bearerAuth": bearer}},
        "security": [{"bearerAuth": []}],
        "paths": {"/score": {"post": _score(flow, hidden)}, "/feedback": _feedback()},
    }


def _score(flow: Flow, hidden: Collection[str]) -> dict[str, Any]:
    inputs: dict[str, Any] = {"type": "object"}
    if flow.inputs:
        inputs["properties"] = {name: _field(item) for name, item in flow.inputs.items()}
        inputs["required"] = [name for name, item in flow.inputs.items() if item.required]
    outputs: dict[str, Any] = {"type": "object"}
    # What a function or a prompty gives is known only where its file or its return type says so.
    if flow.outputs and not (flow.kind != "dag" and set(flow.outputs) == {OUTPUT}):
        shown = {name: item for name, item in flow.outputs.items() if name not in hidden}
        outputs["properties"] = {name: _field(item) for name, item in shown.items()}
    return {
        "summary": f"run promptflow: {flow.root.name} with an given input",
        "requestBody": {
            "description": "promptflow input data",
            "required": bool(flow.inputs),
            "content": {"application/json": {"schema": inputs, "example": {}}},
        },
        "responses": {
            "200": {
                "description": "successful operation",
                "content": {"application/json": {"schema": outputs}},
            },
            "400": {"description": "Invalid input"},
            "default": {"description": "unexpected error"},
        },
    }


def _feedback() -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "additionalProperties": {}}
    anything = {"application/json": {"schema": schema}}
    return {
        "post": {
            "summary": "collect promptflow feedback",
            "requestBody": {
                "description": "promptflow feedback data",
                "required": True,
                "content": anything,
            },
            "responses": {"200": {"description": "successful operation", "content": anything}},
        }
    }


def _field(item: FlowInput | FlowOutput) -> dict[str, Any]:
    kind = _TYPES.get(item.type, "string")
    schema: dict[str, Any] = {"type": kind}
    if item.description:
        schema["description"] = item.description
    if isinstance(item, FlowInput) and item.default is not None:
        schema["default"] = item.default
    if item.type == "object":
        schema["additionalProperties"] = {}
    if item.type == "list":
        schema["items"] = {"type": "object", "additionalProperties": {}}
    return schema
