"""Jinja templates of prompt and llm nodes: syntax, variables, roles. Nothing is rendered."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from phoundry.errors import nearest
from phoundry.flows.check.draft import Body, Draft
from phoundry.flows.check.finding import Notes
from phoundry.flows.check.sources import read_file
from phoundry.flows.messages import ROLE_LINE
from phoundry.flows.reference import Literal, NodeReference

MARKUP = re.compile(r"\{#.*?#\}|\{%.*?%\}", re.DOTALL)


def check_template(draft: Draft, notes: Notes, body: Body) -> None:
    """The template of a prompt or llm node."""
    found = read_file(draft, notes, body)
    if found is None:
        return
    file, text = found
    tree = parse_template(notes, file, text, body.name)
    if tree is None:
        return
    _variables(notes, body, file, text, tree)
    if body.type == "llm":
        _settings(notes, body)
        if body.data.get("api") in (None, "chat"):
            fed = any(isinstance(item, NodeReference) for item in body.inputs.values())
            check_roles(notes, file, text, body.name, fed=fed)


def parse_template(
    notes: Notes, file: Path, text: str, node: str | None, *, first: int = 1
) -> Any | None:
    """The syntax tree of a template whose text begins at line `first` of `file`; None (and a
    finding) where it does not parse or reaches for other files."""
    from jinja2 import TemplateSyntaxError, nodes, pass_context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # Jinja works out what is constant while it compiles, such as `9 ** (9 ** 9)`, unless the
    # environment or a run's context has a say in it.
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, keep_trailing_newline=True)
    environment.intercepted_binops = frozenset(environment.default_binop_table)
    filters: dict[str, Any] = environment.filters  # pyright: ignore[reportAssignmentType]
    filters |= dict.fromkeys(filters, pass_context(_never))
    try:
        tree = environment.parse(text)
        # Compiling finds what parsing lets pass, such as an unknown filter or a block twice.
        environment.compile(tree)
    except TemplateSyntaxError as error:
        line, told = error.lineno, error.message
    except (RecursionError, MemoryError, OverflowError, ValueError, SyntaxError) as error:
        line, told = 0, f"{type(error).__name__}: {error}"
    else:
        tree = environment.parse(text)
        outside = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
        for item in tree.find_all(outside):
            notes.in_file(
                "error",
                "JinjaTemplateError",
                "A template can't include or import another file.",
                file,
                first + item.lineno - 1,
                1,
                remedy="Put the other file's text here.",
                node=node,
            )
        return tree
    notes.in_file(
        "error",
        "TemplateSyntaxError",
        f"Jinja parsing failed at line {line}: {told}",
        file,
        first + line - 1 if line else 0,
        1,
        remedy="Correct the template.",
        node=node,
    )
    return None


def _never(*_: Any) -> None:
    """Stands for every filter: nothing is rendered."""


def undeclared(tree: Any) -> set[str]:
    """The variables that a template takes from outside."""
    from jinja2 import meta

    return meta.find_undeclared_variables(tree)


def place_in(text: str, word: str) -> tuple[int, int]:
    """Line and column where the variable `word` first stands inside markup."""
    inside = re.compile(r"\{[{%].*?\b(" + re.escape(word) + r")\b", re.DOTALL)
    if match := inside.search(text):
        start = match.start(1)
        return text.count("\n", 0, start) + 1, start - (text.rfind("\n", 0, start) + 1) + 1
    return 0, 0


def _variables(notes: Notes, body: Body, file: Path, text: str, tree: Any) -> None:
    from phoundry.flows.tools.llm import IGNORED, MODEL_NAMES, SETTINGS

    wanted = undeclared(tree)
    inputs = body.inputs
    for name in sorted(wanted - inputs.keys()):
        near = nearest(name, inputs)
        line, column = place_in(text, name)
        notes.in_file(
            "warning",
            "UnfilledVariable",
            f"No input of node '{body.name}' fills `{name}`, which becomes empty text.",
            file,
            line,
            column,
            remedy=f"Did you mean {near[0]}?" if near else f"Write `{name}: …` under its inputs.",
            node=body.name,
        )
    known = {*SETTINGS, *IGNORED, *MODEL_NAMES} if body.type == "llm" else set[str]()
    for name in inputs:
        if name not in wanted and name not in known:
            notes.warning(
                "UnusedNodeInput",
                f"The template '{file.name}' does not use `{name}`.",
                *(*body.at, "inputs", name),
                node=body.name,
                remedy="Use it there, or drop the input.",
            )


def _settings(notes: Notes, body: Body) -> None:
    """Literal settings of an llm node fit what the model's API takes."""
    from phoundry.flows.tools.llm import SETTINGS
    from phoundry.flows.values import parse

    api = body.data.get("api")
    if api not in (None, "chat", "completion"):
        message = f"Node '{body.name}' has `api: {api}`."
        remedy = "Write `api: chat` or `completion`."
        notes.error("FlowDefinitionError", message, *body.at, "api", node=body.name, remedy=remedy)
    for name, item in body.inputs.items():
        if name not in SETTINGS or not isinstance(item, Literal) or item.value in (None, ""):
            continue
        if isinstance(item.value, str) and not item.value.startswith("${env:"):
            try:
                parse(SETTINGS[name], item.value)
            except (ValueError, TypeError, OverflowError, RecursionError):
                message = f"`{name}` is {item.value!r}, which is no {SETTINGS[name]}."
                at = (*body.at, "inputs", name)
                remedy = "Correct it, or drop it for the model's default."
                notes.error("FlowDefinitionError", message, *at, node=body.name, remedy=remedy)


def check_roles(
    notes: Notes, file: Path, text: str, node: str | None, *, fed: bool, first: int = 1
) -> None:
    """A chat prompt begins with a role line. `fed`: another node may bring the roles."""
    written = MARKUP.sub("", text)
    match = ROLE_LINE.search(written + "\n")
    before = written[: match.start()] if match else written
    if match is None and not fed:
        message = "The prompt has no role line, and a chat model can't be asked with it."
    elif before.strip() and "{{" not in before:
        message = "Text stands before the first role line of the prompt."
    else:
        return
    notes.in_file(
        "error",
        "ChatAPIInvalidRole",
        message,
        file,
        first,
        1,
        remedy="Begin with `system:` or `user:` on a line of its own.",
        node=node,
    )
