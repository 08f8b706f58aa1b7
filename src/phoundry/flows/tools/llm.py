"""LLM tools: a prompt rendered, split into messages, answered by a model's server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Template

from phoundry.flows.errors import APINotFound, ChatAPIInvalidRole, NodeInputValidationError
from phoundry.flows.inspection import read_file
from phoundry.flows.messages import escape, image_lines, images_in, listed, plain, split_messages
from phoundry.flows.model import Flow, Node
from phoundry.flows.prepare import Connections
from phoundry.flows.reference import Literal
from phoundry.flows.schedule import Step
from phoundry.flows.streams import joined, wanted
from phoundry.flows.tools.completions import CHAT, COMPLETION, complete, stream, whole_message
from phoundry.flows.tools.http import Target
from phoundry.flows.tools.model_errors import LLMError
from phoundry.flows.tools.offers import checked_offers
from phoundry.flows.tools.prompt import make_step, parse_template, refuse_names, render, user_inputs
from phoundry.flows.tools.targets import target_of
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
OF_COMPLETIONS = frozenset({"suffix", "echo", "best_of", "logprobs"})
OF_CHATS = frozenset(
    {"function_call", "functions", "tool_choice", "tools", "response_format", "seed"}
)
MODEL_NAMES = ("model", "deployment_name")
# Inputs that are neither sent nor given to the prompt.
IGNORED = ("stream", "prompt", "module")
NO_LIMIT = "inf"  # of max_tokens, as the old editor wrote it
EMPTY: tuple[Any, ...] = (None, "", [], {})


def llm_step(flow: Flow, node: Node, connections: Connections) -> Step:
    """The step of an `llm` node.

    Raises:
        APINotFound: `api` is neither `chat` nor `completion`.
        GetConnectionError, InvalidConnectionType: no connection, or one that can't be called.
        InvalidSource, TemplateSyntaxError: the prompt is not there or does not parse.
    """
    values = connections.get(node.name, "connection", node.connection)
    api = node.api or "chat"
    if api not in ("chat", "completion"):
        raise APINotFound(
            f"Node '{node.name}' has `api: {api}`.", remedy="Write `api: chat` or `completion`."
        )
    model = _model(node, connections.overrides)
    # A model that is referred to is known when the node runs.
    named = model or ("…" if _refers(node) else None)
    target = target_of(values, named, f"node '{node.name}'")
    file, text = read_file(flow, node)
    template = parse_template(image_lines(text), (node.source and node.source.path) or file)
    others = OF_COMPLETIONS if api == "chat" else OF_CHATS
    refuse_names(node, text, {*SETTINGS, "prompt", "stream"} - others, f"the parameters of {api}")
    call = Call(node.name, api, target, template, user_inputs(node), None if model else values)
    inputs = {
        name: _typed(node, name, item)
        for name, item in node.inputs.items()
        if name not in MODEL_NAMES or not (model or isinstance(item, Literal))
    }
    return make_step(node, call, inputs)


def _typed(node: Node, name: str, item: Any) -> Any:
    """A literal setting as the model's API wants it: `temperature: "0.2"` becomes 0.2."""
    if name in SETTINGS and isinstance(item, Literal) and isinstance(item.value, str):
        if name == "max_tokens" and item.value.lower() == NO_LIMIT:
            return Literal(None)
        try:
            return Literal(parse(SETTINGS[name], item.value)) if item.value else item
        except (ValueError, TypeError):
            raise NodeInputValidationError(
                f"Input '{name}' for node '{node.name}' of value '{item.value}' is not type "
                f"{SETTINGS[name]}."
            ) from None
    return item


def _refers(node: Node) -> bool:
    inputs = [node.inputs.get(name, Literal(None)) for name in MODEL_NAMES]
    return any(not isinstance(item, Literal) for item in inputs)


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
    """An llm node as it is called: the answer's text, or its message when tools were offered.
    `values` are the connection's, for a model that is among the arguments."""

    node: str
    api: str
    target: Target
    template: Template
    untrusted: frozenset[str]
    values: Mapping[str, Any] | None = None

    def __call__(self, arguments: dict[str, Any]) -> Any:
        asked = [str(arguments[name]) for name in MODEL_NAMES if arguments.get(name)]
        target = self.target
        if self.values is not None and asked:
            target = target_of(self.values, asked[-1], f"node '{self.node}'")
        try:
            return self._call(target, arguments)
        except (TypeError, ValueError) as error:  # a setting or text that no JSON has
            raise LLMError(f"OpenAI API hits exception: {type(error).__name__}: {error}") from None

    def _call(self, target: Target, arguments: dict[str, Any]) -> Any:
        body = {"model": target.model, **self._body(arguments)}
        path = CHAT if self.api == "chat" else COMPLETION
        offers = body.keys() & {"tools", "functions"}
        if wanted(self.node) and not offers:
            return joined(self.node, stream(target, path, body, node=self.node))
        choices = complete(target, path, body, node=self.node)["choices"]
        choice: dict[str, Any] = choices[0] if choices else {}
        if self.api == "completion":
            return choice.get("text") or ""
        message: dict[str, Any] = choice.get("message") or {}
        return whole_message(message) if offers else message.get("content") or ""

    def _body(self, arguments: dict[str, Any]) -> dict[str, Any]:
        known = {*SETTINGS, *IGNORED, *MODEL_NAMES}
        variables = {name: value for name, value in arguments.items() if name not in known}
        text = render(
            self.template, escape(listed(variables, always=self.target.azure), self.untrusted)
        )
        body = sent(arguments)
        if self.api == "completion":
            return body | {"prompt": plain(text)}
        try:
            messages = split_messages(text, images_in(variables))
        except ValueError as error:
            raise ChatAPIInvalidRole(
                f"The prompt of node '{self.node}' can't be sent to a chat model: {error}.",
                remedy="Begin the prompt with `system:` or `user:` on a line of its own.",
            ) from None
        return body | {"messages": messages}


def sent(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `settings` that a request carries: known ones that are not empty.

    Raises:
        ChatAPIInvalidTools, ChatAPIInvalidFunctions: offers that no model could take.
    """
    found = {
        name: value
        for name, value in settings.items()
        if name in SETTINGS and not any(value is item or value == item for item in EMPTY)
    }
    if str(found.get("max_tokens", "")).lower() == NO_LIMIT:
        del found["max_tokens"]
    return checked_offers(found)
