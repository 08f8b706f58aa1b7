"""Prompts as chat messages: where a role line starts one, and how role words in what users type
are kept from doing so."""

from __future__ import annotations

import ast
import re
import secrets
from collections.abc import Collection, Mapping
from typing import Any, Self

from phoundry.flows.document import is_list, is_mapping
from phoundry.flows.tools.model_errors import (
    ChatAPIFunctionRoleInvalidFormat,
    ChatAPIToolRoleInvalidFormat,
)

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
# A tool's message names the call that it answers; an assistant's may be the calls themselves.
_ANSWERED = re.compile(_NAMED.pattern.replace("name\\s", "tool_call_id\\s", 1), _NAMED.flags)
_CALLS = re.compile(
    r"^\s*#{0,2}\s*tool_calls\s*:\s*\n+\s*(?P<calls>\[.*\])\s*$", re.IGNORECASE | re.DOTALL
)
_IMAGE = re.compile(r"!\[\s*image\s*\]\((\{\{\s*[^\s{}]+\s*\}\})\)")
# Unguessable, so that nobody can type it; one for the process, because prompts flow between nodes.
# Digits, which no filter of a template changes.
_MARK = f"\u2063{secrets.randbelow(10**18):018d}\u2063"
# As a list's or mapping's text and JSON show it.
_SHOWN_MARK = _MARK.replace("\u2063", "\\u2063")


class PromptText(str):
    """A rendered prompt that still knows which role words came from users.

    As a string it is the plain text; `marked` is the text for `split_messages`.
    """

    __slots__ = ("marked",)
    marked: str

    @classmethod
    def of(cls, marked: str) -> Self:
        text = cls(plain(marked))
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
        return type(value)(_marked(item) for item in value)
    return value


def split_messages(
    marked: str, images: Mapping[str, Any] | None = None, detail: str = "auto"
) -> list[dict[str, Any]]:
    """Messages of a rendered prompt: `[{"role", "content"}]`, contents stripped, marks removed.

    A message that begins with `## name:` gets a `name` too, one of a tool a `tool_call_id`, one of
    the assistant its `tool_calls`. Lines that are one of `images` (as `images_in` gives them) make
    the content a list of parts.

    Raises:
        ValueError: text stands before the first role line, or there is none.
        ChatAPIFunctionRoleInvalidFormat, ChatAPIToolRoleInvalidFormat: a function's message
            without its name, a tool's without the call that it answers.
    """
    parts = ROLE_LINE.split(marked)
    if parts[0].strip() or len(parts) == 1:
        raise ValueError("the prompt does not start with a line such as `system:` or `user:`")
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return [_message(role.lower(), content, images or {}, detail) for role, content in pairs]


def _message(role: str, content: str, images: Mapping[str, Any], detail: str) -> dict[str, Any]:
    if role == "tool":
        answered = _ANSWERED.match(content)
        if answered is None:
            raise ChatAPIToolRoleInvalidFormat(
                "Failed to parse tool role prompt.",
                remedy="Write `tool_call_id:` and `content:` on lines of their own, each with its "
                "value below.",
            )
        call = {"tool_call_id": plain(answered["name"]).strip()}
        return {"role": role, **call, "content": _content(answered["content"], images, detail)}
    if role == "assistant" and (calls := _tool_calls(content)) is not None:
        return {"role": role, "tool_calls": calls}
    if named := _NAMED.match(content):
        name = {"name": plain(named["name"]).strip()}
        return {"role": role, **name, "content": _content(named["content"], images, detail)}
    if role == "function":
        raise ChatAPIFunctionRoleInvalidFormat(
            "Failed to parse function role prompt.",
            remedy="Write `name:` and `content:` on lines of their own, each with its value below.",
        )
    return {"role": role, "content": _content(content, images, detail)}


def _content(marked: str, images: Mapping[str, Any], detail: str) -> Any:
    """The text; where a line is an image, parts of text and image in their order."""
    text = plain(marked).strip()
    lines = [line.strip() for line in text.split("\n")] if images else []
    if not any(line in images for line in lines):
        return text
    return [
        {"type": "image_url", "image_url": {"url": _address(images[line]), "detail": detail}}
        if line in images
        else {"type": "text", "text": written}
        for line, written in zip(lines, text.split("\n"), strict=True)
        if line
    ]


def _address(image: Any) -> str:
    return image.source_url or image.to_base64(with_type=True)


def _tool_calls(content: str) -> list[Any] | None:
    found = _CALLS.match(content)
    if found is None:
        return None
    try:
        calls: Any = ast.literal_eval(plain(found["calls"]))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None  # then it is what the assistant said
    return calls if is_list(calls) else None


def images_in(value: Any) -> dict[str, Any]:
    """The images in `value` at any depth, by what a template makes of them."""
    from phoundry.flows.provided.multimedia import Image

    if isinstance(value, Image):
        return {str(value): value}
    items = value.values() if is_mapping(value) else value if is_list(value) else ()
    return {key: image for item in items for key, image in images_in(item).items()}


class Lines(list[Any]):
    """A list that a template writes line by line, so that each image in it has a line."""

    def __str__(self) -> str:
        return "\n".join(map(str, self))


def listed(value: Any, *, always: bool = False) -> Any:
    """`value` with every list that holds images as `Lines`; or every list, which is what Prompt
    flow does before it calls Azure OpenAI."""
    if not always and not images_in(value):
        return value
    if is_mapping(value):
        return {key: listed(item, always=always) for key, item in value.items()}
    return Lines(listed(item, always=always) for item in value) if is_list(value) else value


def image_lines(template: str) -> str:
    """`![image]({{ x }})` as `{{ x }}` on a line of its own."""
    return _IMAGE.sub(r"\n\1\n", template)


def plain(marked: str) -> str:
    """The text without marks."""
    return marked.replace(_MARK, "").replace(_SHOWN_MARK, "")
