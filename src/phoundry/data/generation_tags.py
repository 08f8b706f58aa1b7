"""`{% generation %} … {% endgeneration %}`: where a template says that the model is speaking.

The tags are those of `transformers` (its `AssistantTracker`): they write what is between them, and
tell who asks where in the text that stands. Unlike there, what was found belongs to one rendering
and not to the template, so that threads may share a template.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from jinja2 import nodes, pass_context
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context

# No name that a template could write: it can neither read the marks nor set them.
MARKS = "marks of generation"
_TAG = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")


def has_tags(source: str) -> bool:
    """Whether a template's source has such tags (seen as `transformers` sees them)."""
    return _TAG.search(source) is not None


@dataclass(slots=True)
class Marks:
    """What one rendering has marked: (position in the text, text between the tags)."""

    written: int = 0
    found: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def text(self, pieces: Iterable[str]) -> str:
        """All of `pieces`, counted as they come: a mark begins where the text has got to."""
        kept: list[str] = []
        for piece in pieces:
            kept.append(piece)
            self.written += len(piece)
        return "".join(kept)


class GenerationTags(Extension):
    """Renders a block as if the tags were not there, and marks it if `MARKS` is a variable."""

    tags: set[str] = {"generation"}  # noqa: RUF012  (so declared by Jinja)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("mark"), [], [], body).set_lineno(line)

    @pass_context
    def mark(self, context: Context, caller: Callable[[], str]) -> str:
        text = caller()
        marks = context.get(MARKS)
        if isinstance(marks, Marks):
            marks.found.append((marks.written, text))
        return text
