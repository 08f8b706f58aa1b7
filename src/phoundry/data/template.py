"""A checkpoint's chat template, run in a sandbox with Hugging Face's conventions.

The conventions are those of `transformers.utils.chat_template_utils`: block trimming, loop
controls, `raise_exception`, `strftime_now`, a `tojson` that keeps Unicode and HTML, and
`{% generation %}` blocks, which only mark text. The sandbox is immutable: a template can't reach
Python through it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn, cast

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from phoundry.data.row import ChatMessage
from phoundry.errors import InvalidInput

# What a template can raise beside Jinja's own errors: it calls methods of strings and lists.
_FAILURES = (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError)


class ChatTemplate:
    """The template of one model. `name` is what errors call the model."""

    def __init__(self, source: str, name: str, tokens: Mapping[str, str]) -> None:
        """Compile `source`. `tokens` are the variables it may use: `bos_token`, `eos_token`, …

        Raises:
            InvalidInput: `source` is not a Jinja template.
        """
        self.name = name
        self._tokens = dict(tokens)
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise InvalidInput(
                f"The chat template of {name} is not usable: line {error.lineno}: {error.message}."
            ) from None

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """The conversation as the model's text, ending where the model must answer if so asked.

        `messages` are as `template_message` makes them.

        Raises:
            InvalidInput: the template refuses the conversation.
        """
        variables: dict[str, Any] = {
            **self._tokens,
            "messages": [dict(message) for message in messages],
            "tools": list(tools) if tools else None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            return self._template.render(variables)
        except _FAILURES as error:
            raise InvalidInput(
                f"The chat template of {self.name} refuses this conversation: "
                f"{str(error).rstrip('.')}.",
                remedy="Use the roles, and their order, that the model was trained with.",
            ) from None


def template_message(message: ChatMessage) -> Mapping[str, Any]:
    """A message as templates take it: `arguments` as an object, and no `weight`."""
    if len(message) == 2:  # role and content: nearly all
        return message
    shown: dict[str, Any] = {key: value for key, value in message.items() if key != "weight"}
    if calls := message.get("tool_calls"):
        shown["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": _arguments(call["function"])}}
            for call in calls
        ]
    return shown


def _arguments(function: Mapping[str, Any]) -> Any:
    arguments = function.get("arguments", "{}")
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except ValueError:
        raise InvalidInput(
            f"The arguments of the call of '{function.get('name')}' are not JSON.",
            remedy='Write them as text of a JSON object, such as "{\\"city\\": \\"Paris\\"}".',
        ) from None


class _Generation(Extension):
    """`{% generation %} … {% endgeneration %}`: accepted, and rendered as if it were not there."""

    tags: set[str] = {"generation"}  # noqa: RUF012  (so declared by Jinja)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


def _environment() -> ImmutableSandboxedEnvironment:
    # No HTML is made here: escaping would change what the model reads.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    variables = cast("dict[str, Any]", environment.globals)
    variables.update(raise_exception=_raise, strftime_now=_now)
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _now(pattern: str) -> str:
    # Local time, as the convention has it: "today" is the user's day.
    return datetime.now().astimezone().strftime(pattern)
