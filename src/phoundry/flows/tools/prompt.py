"""Prompt tools: a Jinja template in a sandbox.

Role words in what users type are marked before the template sees them, so that a question that
reads "system:\\n…" never becomes a system message (see `messages.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, Template, Undefined
from jinja2 import TemplateSyntaxError as JinjaSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from phoundry.flows.errors import JinjaTemplateError, TemplateSyntaxError
from phoundry.flows.inspection import read_file
from phoundry.flows.messages import PromptText, escape
from phoundry.flows.model import Flow, Node
from phoundry.flows.reference import InputReference, Literal
from phoundry.flows.schedule import Step


def prompt_step(flow: Flow, node: Node) -> Step:
    """The step of a `prompt` node: its inputs in, the rendered text out.

    Raises:
        InvalidSource, TemplateSyntaxError: the template is not there or does not parse.
    """
    template = load_template(flow, node)
    untrusted = user_inputs(node)

    def call(arguments: dict[str, Any]) -> PromptText:
        return PromptText.of(render(template, escape(arguments, untrusted)))

    return make_step(node, call, node.inputs)


def make_step(
    node: Node, call: Callable[[dict[str, Any]], Any], inputs: dict[str, Any] | Any
) -> Step:
    """A step whose literals are passed as written; empty ones are left out."""
    literals = {name: item.value for name, item in inputs.items() if isinstance(item, Literal)}
    return Step(
        node,
        call,
        {name: item for name, item in inputs.items() if not isinstance(item, Literal)},
        {name: value for name, value in literals.items() if value is not None and value != ""},
    )


def user_inputs(node: Node) -> frozenset[str]:
    """The inputs that come straight from the flow's inputs: what users type."""
    return frozenset(name for name, item in node.inputs.items() if isinstance(item, InputReference))


def load_template(flow: Flow, node: Node) -> Template:
    """The template of `node`, parsed; one trailing newline is kept and there is no `include`."""
    file, text = read_file(flow, node)
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, keep_trailing_newline=True, undefined=Undefined, autoescape=False
    )
    try:
        return _parse(environment, text)
    except JinjaSyntaxError as error:
        place = node.source.path if node.source else file
        raise TemplateSyntaxError(
            f"Jinja parsing failed at line {error.lineno}: (TemplateSyntaxError) {error.message}",
            where=f"{place}:{error.lineno}",
        ) from None


def _parse(environment: Environment, text: str) -> Template:
    return environment.from_string(text)


def render(template: Template, arguments: dict[str, Any]) -> str:
    """The text of `template` with `arguments`.

    Raises:
        JinjaTemplateError: rendering failed, or the template reached out of the sandbox.
    """
    try:
        return template.render(**arguments)
    except Exception as error:  # noqa: BLE001 - templates run the filters and methods of any value
        raise JinjaTemplateError(
            f"Failed to render jinja template: {type(error).__name__}: {error}. Please modify your "
            "prompt to fix the issue."
        ) from None
