"""A checkpoint's chat template, run in a sandbox with Hugging Face's conventions.

The conventions are those of `transformers.utils.chat_template_utils`: block trimming, loop
controls, `raise_exception`, `strftime_now`, a `tojson` that keeps Unicode and HTML, and
`{% generation %}` blocks (generation_tags.py). The sandbox is immutable: a template can't reach
Python through it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NoReturn, cast

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from phoundry.data.generation_tags import MARKS, GenerationTags, Marks, has_tags
from phoundry.data.row import ChatMessage
from phoundry.data.training_templates import training_template
from phoundry.errors import InvalidInput

# What a template can raise beside Jinja's own errors: it calls methods of strings and lists.
_FAILURES = (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Marked:
    """A conversation's text, and the stretches of it that the template says the model wrote."""

    text: str
    spans: list[tuple[int, int]]


class ChatTemplate:
    """The template of one model. `name` is what errors call the model.

    `tagged`: it has generation tags of its own. `taught`: it has none, and a training template with
    them is known for it (training_templates/).
    """

    def __init__(self, source: str, name: str, tokens: Mapping[str, str]) -> None:
        """Compile `source`. `tokens` are the variables it may use: `bos_token`, `eos_token`, …

        Raises:
            InvalidInput: `source` is not a Jinja template.
        """
        self.name = name
        self.tagged = has_tags(source)
        self._tokens = dict(tokens)
        self._training = None if self.tagged else training_template(source)
        self.taught = self._training is not None
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
        variables = self._variables(messages, add_generation_prompt, tools)
        try:
            return self._template.render(variables)
        except _FAILURES as error:
            raise self._refusal(error) from None

    def marked(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> Marked:
        """The conversation as the template with generation tags writes it: the model's own, or the
        training template that is known for it.

        Raises:
            InvalidInput: the template refuses the conversation, or marks what is not in the text.
        """
        marks = Marks()
        variables = self._variables(messages, False, tools) | {MARKS: marks}
        try:
            text = marks.text(self._with_tags.generate(variables))
        except _FAILURES as error:
            raise self._refusal(error) from None
        spans = [(start, start + len(said)) for start, said in marks.found]
        if any(
            text[start:end] != said
            for (start, end), (_, said) in zip(spans, marks.found, strict=True)
        ):
            raise InvalidInput(
                f"The chat template of {self.name} has generation tags around text that it "
                "changes afterwards, so it is not known what the model must learn.",
                remedy="Take the tags out of macros, filters and set blocks, or leave them out.",
            )
        return Marked(text, spans)

    @cached_property
    def _with_tags(self) -> jinja2.Template:
        if self._training is None:
            return self._template
        return _environment().from_string(self._training)

    def _variables(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool,
        tools: Sequence[Mapping[str, Any]] | None,
    ) -> dict[str, Any]:
        return {
            **self._tokens,
            "messages": [dict(message) for message in messages],
            "tools": list(tools) if tools else None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }

    def _refusal(self, error: Exception) -> InvalidInput:
        return InvalidInput(
            f"The chat template of {self.name} refuses this conversation: "
            f"{str(error).rstrip('.')}.",
            remedy="Use the roles, and their order, that the model was trained with.",
        )


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


def _environment() -> ImmutableSandboxedEnvironment:
    # No HTML is made here: escaping would change what the model reads.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTags, loopcontrols]
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
