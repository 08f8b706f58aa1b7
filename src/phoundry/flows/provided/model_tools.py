"""`promptflow.tools`: the functions that flows call models with, on our own HTTP client."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from phoundry.flows.errors import InvalidConnectionType
from phoundry.flows.messages import plain
from phoundry.flows.provided.connections import Connection, values_of
from phoundry.flows.provided.core import ToolProvider
from phoundry.flows.provided.prompts import build_messages, render_jinja_template, to_bool
from phoundry.flows.provided.types import PromptTemplate
from phoundry.flows.tools.completions import (
    CHAT,
    COMPLETION,
    EMBEDDINGS,
    ask,
    complete,
    stream,
    whole_message,
)
from phoundry.flows.tools.http import Target
from phoundry.flows.tools.llm import SETTINGS, sent
from phoundry.flows.tools.model_errors import APIResponseError
from phoundry.flows.tools.targets import target_of


def llm(
    connection: Connection,
    prompt: str,
    api: str = "chat",
    deployment_name: str = "",
    model: str = "",
    **values: Any,
) -> Any:
    """The answer to a prompt by whatever server `connection` leads to."""
    name = deployment_name or model
    call = _completion if api == "completion" else _chat
    return call(connection, prompt, name, values)


def aoai_chat(connection: Connection, prompt: str, deployment_name: str = "", **values: Any) -> Any:
    return _chat(connection, prompt, deployment_name, values)


def aoai_completion(
    connection: Connection, prompt: str, deployment_name: str = "", **values: Any
) -> Any:
    return _completion(connection, prompt, deployment_name, values)


def openai_chat(connection: Connection, prompt: str, model: str = "", **values: Any) -> Any:
    return _chat(connection, prompt, model, values)


def openai_completion(connection: Connection, prompt: str, model: Any = "", **values: Any) -> Any:
    return _completion(connection, prompt, model, values)


def llm_vision(
    connection: Connection,
    prompt: PromptTemplate,
    deployment_name: str = "",
    model: str = "",
    **values: Any,
) -> Any:
    """The answer to a prompt with images."""
    return _chat(connection, prompt, deployment_name or model, values)


class AzureOpenAI(ToolProvider):
    """`AzureOpenAI(connection).chat(prompt=…, deployment_name=…)`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def chat(self, prompt: PromptTemplate, deployment_name: str = "", **values: Any) -> Any:
        return _chat(self.connection, prompt, deployment_name, values)

    def completion(self, prompt: str, deployment_name: str = "", **values: Any) -> Any:
        return _completion(self.connection, prompt, deployment_name, values)


class OpenAI(ToolProvider):
    """`OpenAI(connection).chat(prompt=…, model=…)`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def chat(self, prompt: PromptTemplate, model: str = "", **values: Any) -> Any:
        return _chat(self.connection, prompt, model, values)

    def completion(self, prompt: str, model: Any = "", **values: Any) -> Any:
        return _completion(self.connection, prompt, model, values)


def embedding(
    connection: Connection, input: Any, deployment_name: str = "", model: Any = ""
) -> list[float]:
    """The embedding of a text.

    Raises:
        InvalidConnectionType, OpenAIError: as any call of a model.
    """
    target = _target(connection, deployment_name or model)
    answer = ask(target, EMBEDDINGS, {"model": target.model, "input": input}, node="embedding")
    try:
        return answer["data"][0]["embedding"]
    except (KeyError, IndexError, TypeError):
        raise APIResponseError("The server's answer has no embedding.") from None


def _chat(connection: Connection, prompt: str, model: Any, values: Mapping[str, Any]) -> Any:
    settings, variables, streams = _parted(values)
    target = _target(connection, model)
    detail = str(variables.pop("detail", None) or "auto")
    messages = build_messages(prompt, image_detail=detail, **variables)
    body = {"model": target.model, "messages": messages, **sent(settings)}
    if streams:
        return stream(target, CHAT, body, node="chat")
    message: dict[str, Any] = _first(complete(target, CHAT, body, node="chat")).get("message") or {}
    offers = body.keys() & {"tools", "functions"}
    return whole_message(message) if offers else message.get("content") or ""


def _completion(connection: Connection, prompt: str, model: Any, values: Mapping[str, Any]) -> Any:
    settings, variables, streams = _parted(values)
    target = _target(connection, model)
    text = plain(render_jinja_template(prompt, **variables))
    body = {"model": target.model, "prompt": text, **sent(settings)}
    if streams:
        return stream(target, COMPLETION, body, node="completion")
    return _first(complete(target, COMPLETION, body, node="completion")).get("text") or ""


def _first(answer: Mapping[str, Any]) -> dict[str, Any]:
    choices: list[dict[str, Any]] = answer["choices"]
    return choices[0] if choices else {}


def _parted(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Settings of the model, variables of the prompt, whether the answer is streamed."""
    settings = {name: value for name, value in values.items() if name in SETTINGS}
    variables = {name: value for name, value in values.items() if name not in SETTINGS}
    return settings, variables, to_bool(variables.pop("stream", False))


def _target(connection: Any, model: Any) -> Target:
    if not isinstance(connection, Connection):
        raise InvalidConnectionType(
            f"Not Support connection type '{type(connection).__name__}' for llm.",
            remedy="Give the connection that the tool was handed.",
        )
    name = model.value if isinstance(model, Enum) else str(model or "")
    found = values_of(connection, connection.name or "its own")
    return target_of(found, name or None, "the tool")
