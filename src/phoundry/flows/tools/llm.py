"""LLM tools: a prompt rendered, split into messages, answered by an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Template

from phoundry.flows.errors import (
    ChatAPIInvalidRole,
    FlowDefinitionError,
    InvalidConnectionType,
)
from phoundry.flows.messages import escape, plain, split_messages
from phoundry.flows.model import Flow, Node
from phoundry.flows.prepare import Connections
from phoundry.flows.provided.connections import class_for
from phoundry.flows.reference import Literal
from phoundry.flows.schedule import Step
from phoundry.flows.streams import joined, wanted
from phoundry.flows.tools.completions import Target, complete, stream
from phoundry.flows.tools.prompt import load_template, make_step, render, user_inputs
from phoundry.flows.values import parse

# Inputs of an llm node that are the model's and not the prompt's, with the type of a literal.
SETTINGS: Mapping[str, str] = {
    "temperature": "double",
    "top_p": "double",
    "presence_penalty": "double",
    "frequency_penalty": "double",
    "n": "int",
    "max_tokens": "int",
    "seed": "int",
    "logprobs": "object",
    "stop": "object",
    "logit_bias": "object",
    "user": "string",
    "response_format": "object",
    "functions": "object",
    "function_call": "object",
    "tools": "object",
    "tool_choice": "object",
    "suffix": "string",
    "echo": "bool",
    "best_of": "int",
}
MODEL_NAMES = ("model", "deployment_name")
# Inputs that are neither sent nor given to the prompt.
IGNORED = ("stream", "prompt", "module")


def llm_step(flow: Flow, node: Node, connections: Connections) -> Step:
    """The step of an `llm` node.

    Raises:
        FlowDefinitionError: `api` is neither `chat` nor `completion`.
        GetConnectionError, InvalidConnectionType: no connection, or one that can't be called.
        InvalidSource, TemplateSyntaxError: the prompt is not there or does not parse.
    """
    api = node.api or "chat"
    if api not in ("chat", "completion"):
        raise FlowDefinitionError(
            f"Node '{node.name}' has `api: {api}`.", remedy="Write `api: chat` or `completion`."
        )
    values = connections.get(node.name, "connection", node.connection)
    target = target_of(node, values, connections.overrides)
    call = Call(node.name, api, target, load_template(flow, node), user_inputs(node))
    inputs = {name: item for name, item in node.inputs.items() if name not in MODEL_NAMES}
    return make_step(node, call, {name: _typed(name, item) for name, item in inputs.items()})


def _typed(name: str, item: Any) -> Any:
    """A literal setting as the model's API wants it: `temperature: "0.2"` becomes 0.2."""
    if name in SETTINGS and isinstance(item, Literal) and isinstance(item.value, str):
        try:
            return Literal(parse(SETTINGS[name], item.value)) if item.value else item
        except (ValueError, TypeError):
            raise FlowDefinitionError(
                f"`{name}` is {item.value!r}, which is no {SETTINGS[name]}."
            ) from None
    return item


def target_of(node: Node, values: Mapping[str, Any], overrides: Mapping[str, str]) -> Target:
    """Where and how the node's model is called.

    Raises:
        InvalidConnectionType: the connection has no address or no key, or no model is named.
    """
    keys: dict[str, str] = {**values["configs"], **values["secrets"]}
    kind, name = class_for(str(values["type"])).TYPE, str(values["name"])
    base = keys.get("api_base") or keys.get("base_url")
    if base is None and kind == "open_ai":
        base = "https://api.openai.com/v1"
    key = keys.get("api_key") or keys.get("key")
    if not base or not key:
        raise InvalidConnectionType(
            f"The connection '{name}' can't call a model for node '{node.name}': it has no "
            f"{'api_base' if not base else 'key'}.",
            remedy="It needs api_base (such as http://127.0.0.1:7411/v1) and key.",
        )
    model = _model(node, overrides) or keys.get("model")
    if not model:
        raise InvalidConnectionType(
            f"Node '{node.name}' names no model, and neither does the connection '{name}'.",
            remedy="Give the node the input `model`, or the connection the config `model`.",
        )
    if kind == "azure_open_ai":
        version = keys.get("api_version", "2024-02-01")
        url = f"{base.rstrip('/')}/openai/deployments/{model}"
        return Target(url, {"api-key": key}, model, {"api-version": version})
    headers = {"Authorization": f"Bearer {key}"}
    if organization := keys.get("organization"):
        headers["OpenAI-Organization"] = organization
    return Target(base.rstrip("/"), headers, model)


def _model(node: Node, overrides: Mapping[str, str]) -> str | None:
    for name in MODEL_NAMES:
        if f"{node.name}.{name}" in overrides:
            return overrides[f"{node.name}.{name}"]
    for name in MODEL_NAMES:
        item = node.inputs.get(name)
        if isinstance(item, Literal) and item.value:
            return str(item.value)
    return None


@dataclass(frozen=True, slots=True)
class Call:
    """An llm node as it is called: the answer's text, or its message when tools were offered."""

    node: str
    api: str
    target: Target
    template: Template
    untrusted: frozenset[str]

    def __call__(self, arguments: dict[str, Any]) -> Any:
        body = self._body(arguments)
        path = "/chat/completions" if self.api == "chat" else "/completions"
        if wanted(self.node) and not body.keys() & {"tools", "functions"}:
            return joined(self.node, stream(self.target, path, body, node=self.node))
        choice = complete(self.target, path, body, node=self.node)
        if self.api == "completion":
            return choice.get("text") or ""
        message: dict[str, Any] = choice.get("message") or {}
        return message if body.keys() & {"tools", "functions"} else message.get("content") or ""

    def _body(self, arguments: dict[str, Any]) -> dict[str, Any]:
        known = {*SETTINGS, *IGNORED}
        variables = {name: value for name, value in arguments.items() if name not in known}
        text = render(self.template, escape(variables, self.untrusted))
        settings = {
            name: value
            for name, value in arguments.items()
            if name in SETTINGS and value not in (None, "")
        }
        body: dict[str, Any] = {"model": self.target.model, **settings}
        if self.api == "completion":
            return body | {"prompt": plain(text)}
        try:
            return body | {"messages": split_messages(text)}
        except ValueError as error:
            raise ChatAPIInvalidRole(
                f"The prompt of node '{self.node}' can't be sent to a chat model: {error}.",
                remedy="Begin the prompt with `system:` or `user:` on a line of its own.",
            ) from None
