"""Prompts as chat messages: where a role line starts one, and how role words in what users type
are kept from doing so."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping
from typing import Any, Self

from phoundry.flows.document import is_list, is_mapping

ROLES = ("system", "user", "assistant", "function", "tool")
# A line that is only a role and a colon, `# user:` included.
ROLE_LINE = re.compile(rf"^\s*#?\s*({'|'.join(ROLES)})\s*:\s*\n", re.IGNORECASE | re.MULTILINE)
_ROLE_WORD = re.compile(
    rf"^(\s*#?\s*)({'|'.join(ROLES)})(?=\s*:\s*(?:\n|\Z))", re.IGNORECASE | re.MULTILINE
)
# A message that says whose it is: `## name:` and `## content:` on lines of their own.
_NAMED = re.compile(
    r"^\s*#{0,2}\s*name\s*:\s*\n+(?P<name>[^\n]+)\n+\s*#{0,2}\s*content\s*:\s*\n?(?P<content>.*)",
    re.IGNORECASE | re.DOTALL,
)
# Unguessable, so that nobody can type it; one for the process, because prompts flow between nodes.
_MARK = f"\u2063{secrets.token_hex(8)}\u2063"


class PromptText(str):
    """A rendered prompt that still knows which role words came from users.

    As a string it is the plain text; `marked` is the text for `split_messages`.
    """

    __slots__ = ("marked",)
    marked: str

    @classmethod
    def of(cls, marked: str) -> Self:
        text = cls(marked.replace(_MARK, ""))
        text.marked = marked
        return text


def escape(arguments: Mapping[str, Any], untrusted: Collection[str]) -> dict[str, Any]:
    """`arguments` with role words marked in the `untrusted` ones, at any depth; prompts that other
    nodes rendered come with the marks they have."""
    return {
        name: _marked(value)
        if name in untrusted
        else (value.marked if isinstance(value, PromptText) else value)
        for name, value in arguments.items()
    }


def _marked(value: Any) -> Any:
    if isinstance(value, str):
        return _ROLE_WORD.sub(rf"\1{_MARK}\2", value)
    if is_mapping(value):
        return {key: _marked(item) for key, item in value.items()}
    if is_list(value):
        return [_marked(item) for item in value]
    return value


def split_messages(marked: str) -> list[dict[str, str]]:
    """Messages of a rendered prompt: `[{"role", "content"}]`, contents stripped, marks removed.
    A message that begins with `## name:` gets a `name` too.

    Raises:
        ValueError: text stands before the first role line, or there is none.
    """
    parts = ROLE_LINE.split(marked)
    if parts[0].strip() or len(parts) == 1:
        raise ValueError("the prompt does not start with a line such as `system:` or `user:`")
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return [_message(role.lower(), content) for role, content in pairs]


def _message(role: str, content: str) -> dict[str, str]:
    if named := _NAMED.match(content):
        name = {"name": plain(named["name"]).strip()}
        return {"role": role, **name, "content": plain(named["content"]).strip()}
    return {"role": role, "content": plain(content).strip()}


def plain(marked: str) -> str:
    """The text without marks."""
    return marked.replace(_MARK, "")
