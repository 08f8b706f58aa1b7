"""`promptflow.tools.common`: the helpers that tools of others call, on our own prompts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from phoundry.flows.errors import ChatAPIInvalidRole, FlowError
from phoundry.flows.messages import (
    ROLES,
    PromptText,
    escape,
    image_lines,
    images_in,
    listed,
    split_messages,
)
from phoundry.flows.provided.connections import Connection
from phoundry.flows.tools.model_errors import LLMError
from phoundry.flows.tools.prompt import parse_template, render

Function = Callable[..., Any]
PromptResult = PromptText
preprocess_template_string = image_lines


def render_jinja_template(
    template_content: str,
    trim_blocks: bool = True,
    keep_trailing_newline: bool = True,
    escape_dict: Mapping[str, str] | None = None,
    **values: Any,
) -> str:
    """The text of a template, in the sandbox.

    Raises:
        TemplateSyntaxError, JinjaTemplateError: it does not parse, or rendering fails.
    """
    return render(parse_template(str(template_content), "template"), values)


def render_template_jinja2(template: str, **values: Any) -> str:
    return render_jinja_template(template, **values)


def build_messages(
    prompt: str, images: Sequence[Any] | None = None, image_detail: str = "auto", **values: Any
) -> list[dict[str, Any]]:
    """The messages of a chat prompt; role words in `values` start none.

    Raises:
        ChatAPIInvalidRole: no message begins the prompt.
    """
    values.pop("_inputs_to_escape", None)
    template = parse_template(image_lines(str(prompt)), "prompt")
    known = {str(image): image for image in images or ()} | images_in(values)
    return _messages(render(template, escape(listed(values), values)), known, image_detail)


def parse_chat(
    chat_str: str,
    images: Sequence[Any] | None = None,
    valid_roles: Sequence[str] | None = None,
    image_detail: str = "auto",
    escape_dict: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """The messages in a text that is rendered already.

    Raises:
        ChatAPIInvalidRole: no message begins it.
    """
    return _messages(chat_str, {str(image): image for image in images or ()}, image_detail)


def _messages(text: str, images: Mapping[str, Any], detail: str) -> list[dict[str, Any]]:
    try:
        return split_messages(text, images, detail)
    except ValueError as error:
        raise ChatAPIInvalidRole(
            f"This can't be sent to a chat model: {error}.",
            remedy="Begin the prompt with `system:` or `user:` on a line of its own.",
        ) from None


def validate_role(role: str, valid_roles: Sequence[str] | None = None, **_: Any) -> None:
    """Raises ChatAPIInvalidRole for a role that is none."""
    if role not in (valid_roles or ROLES):
        raise ChatAPIInvalidRole(
            f"'{role}' is no role of a chat.", remedy=f"Use one of {', '.join(ROLES)}."
        )


def to_bool(value: Any) -> bool:
    return str(value).lower() == "true"


def handle_openai_error(tries: int = 10, **_: Any) -> Callable[[Function], Function]:
    """Errors of the `openai` package, and any other, as a flow's; our own calls retry by
    themselves, and a tool's own client does so too."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except FlowError:
                raise
            except Exception as error:
                kind = type(error).__name__
                raise LLMError(f"OpenAI API hits exception: {kind}: {error}") from error

        return call

    return decorate


def normalize_connection_config(connection: Connection) -> dict[str, Any]:
    """The arguments of the `openai` package's client for `connection`."""
    key = connection.get("api_key") or connection.get("key")
    base = connection.get("base_url") or connection.get("api_base")
    if connection.type == "azure_open_ai":
        version = connection.get("api_version")
        return {"api_key": key, "azure_endpoint": base, "api_version": version, "max_retries": 0}
    if connection.type == "serverless" and base and not base.endswith("/v1"):
        base = f"{base.rstrip('/')}/v1"
    organization = connection.get("organization")
    return {"api_key": key, "base_url": base, "organization": organization, "max_retries": 0}


def init_openai_client(connection: Connection) -> Any:
    """A client of the `openai` package, which the flow's environment has to have."""
    from openai import OpenAI  # type: ignore[import-not-found]

    return OpenAI(**normalize_connection_config(connection))  # pyright: ignore[reportUnknownVariableType]


def init_azure_openai_client(connection: Connection) -> Any:
    from openai import AzureOpenAI  # type: ignore[import-not-found]

    return AzureOpenAI(**normalize_connection_config(connection))  # pyright: ignore[reportUnknownVariableType]


def enable_cache(_: Any) -> Callable[[Function], Function]:
    """Leave the function as it is: a node's `cache: true` keeps results here."""
    return lambda function: function


def register_apis(kind: Any) -> Any:
    """Accepted: llm nodes find their server by the connection."""
    return kind


register_builtins = register_apis
