"""Prompt tools: a Jinja template in a sandbox.

Role words in what users type are marked before the template sees them, so that a question that
reads "system:\\n…" never becomes a system message (see `messages.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from jinja2 import Environment, Template, Undefined, meta
from jinja2 import TemplateAssertionError as JinjaAssertionError
from jinja2 import TemplateSyntaxError as JinjaSyntaxError
from jinja2.sandbox import SandboxedEnvironment

from phoundry.flows.errors import (
    InvalidImageInput,
    JinjaTemplateError,
    NodeInputValidationError,
    TemplateAssertionError,
    TemplateSyntaxError,
    UnreadableImage,
)
from phoundry.flows.inspection import read_file
from phoundry.flows.messages import PromptText, escape
from phoundry.flows.model import Flow, Node
from phoundry.flows.reference import InputReference, ItemReference, Literal, Reference
from phoundry.flows.schedule import Step

RESERVED = ("template",)  # a parameter of Prompt flow's own tool
_SHOWN = re.compile(r"!\[\s*image\s*\]\(\{\{\s*(?P<name>\w+)\s*\}\}\)")


def prompt_step(flow: Flow, node: Node) -> Step:
    """The step of a `prompt` node: its inputs in, the rendered text out.

    Raises:
        InvalidSource, TemplateSyntaxError: the template is not there or does not parse.
        NodeInputValidationError: it uses a reserved name.
        InvalidImageInput, UnreadableImage: a literal image is none.
    """
    template = load_template(flow, node)
    untrusted = user_inputs(node)

    def call(arguments: dict[str, Any]) -> PromptText:
        return PromptText.of(render(template, escape(arguments, untrusted)))

    text = read_file(flow, node)[1]
    refuse_names(node, text, RESERVED, "the reserved parameters of prompt tool")
    images = shown_images(text)
    inputs = {
        name: image_literal(flow, name, item) if name in images else item
        for name, item in node.inputs.items()
    }
    return make_step(node, call, inputs, keep_empty=True)


def refuse_names(node: Node, text: str, reserved: Collection[str], whose: str) -> None:
    """Raise NodeInputValidationError when the template `text` uses a name that is `whose`."""
    if not any(name in text for name in reserved):
        return
    parsed = SandboxedEnvironment(autoescape=False).parse(text)
    if both := sorted(meta.find_undeclared_variables(parsed) & set(reserved)):
        raise NodeInputValidationError(
            f"Invalid inputs {both} in prompt template of node {node.name}. These inputs are "
            f"duplicated with {whose}.",
            remedy="Use other names in the template.",
        )


def shown_images(text: str) -> frozenset[str]:
    """The inputs that the template `text` shows as images: `![image]({{name}})`."""
    return frozenset(match["name"] for match in _SHOWN.finditer(text))


def image_literal(flow: Flow, name: str, item: Any) -> Any:
    """The literal `item` for the input `name` as an image; anything else as it is.

    Raises:
        InvalidImageInput: it is no image, or empty.
        UnreadableImage: its file can't be read.
    """
    if not isinstance(item, Literal):
        return item
    from phoundry.flows.multimedia import make_image

    try:
        return Literal(make_image(item.value, flow.message_format))
    except OSError as error:
        raise UnreadableImage(f"Failed to load image for input '{name}': {error}") from None
    except ValueError as error:
        raise InvalidImageInput(f"Failed to load image for input '{name}': {error}") from None


def make_step(
    node: Node,
    call: Callable[[dict[str, Any]], Any],
    inputs: Mapping[str, Reference],
    *,
    keep_empty: bool = False,
) -> Step:
    """A step whose literals are passed as written; empty ones are left out unless kept."""
    literals = {name: item.value for name, item in inputs.items() if isinstance(item, Literal)}
    return Step(
        node,
        call,
        {name: item for name, item in inputs.items() if not isinstance(item, Literal)},
        {
            name: value
            for name, value in literals.items()
            if keep_empty or (value is not None and value != "")
        },
    )


def user_inputs(node: Node) -> frozenset[str]:
    """The inputs that come straight from the flow's inputs: what users type. Items of a list that
    does are no other."""
    foreach = node.extensions.foreach
    kinds: tuple[type, ...] = (InputReference,)
    if foreach is not None and isinstance(foreach.over, InputReference):
        kinds = (InputReference, ItemReference)
    return frozenset(name for name, item in node.inputs.items() if isinstance(item, kinds))


def load_template(flow: Flow, node: Node) -> Template:
    """The template of `node`, parsed."""
    file, text = read_file(flow, node)
    return parse_template(text, (node.source.path if node.source else None) or file)


def parse_template(text: str, place: str) -> Template:
    """The template `text` of the file `place`; one trailing newline is kept and there is no
    `include`.

    Raises:
        TemplateSyntaxError: it does not parse, with the line.
    """
    # Not the immutable sandbox: `{% set _ = items.append(x) %}` is how templates collect things.
    environment = SandboxedEnvironment(
        trim_blocks=True, keep_trailing_newline=True, undefined=Undefined, autoescape=False
    )
    try:
        return _parse(environment, text)
    except JinjaSyntaxError as error:
        known = not isinstance(error, JinjaAssertionError)  # else a filter or test that isn't
        kind = TemplateSyntaxError if known else TemplateAssertionError
        raise kind(
            f"Jinja parsing failed at line {error.lineno}: ({kind.code}) {error.message}",
            where=f"{place}:{error.lineno}",
        ) from None
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        # Jinja makes Python of it, whose own limits it does not know.
        raise TemplateSyntaxError(
            f"Jinja parsing failed at line 0: ({TemplateSyntaxError.code}) the template is nested "
            f"too deep, or holds too much: {type(error).__name__}: {error}",
            where=place,
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
