"""Read, check and split chats, and the one renderer of them: conversation in, token ids out.

The renderer needs the package `tokenizers` (extras `train` and `serve`), and is loaded when it is
first asked for; the rest needs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phoundry.data.row import ChatMessage, Row
from phoundry.data.rows import (
    Checked,
    ReadResult,
    RefusedRow,
    check_messages,
    iter_messages,
    read_messages,
)
from phoundry.data.splits import Split, split, to_jsonl

if TYPE_CHECKING:
    from phoundry.data.examples import Examples, render_rows, truncate
    from phoundry.data.tokenizer import ChatTokenizer, Example

__all__ = [
    "ChatMessage",
    "ChatTokenizer",
    "Checked",
    "Example",
    "Examples",
    "ReadResult",
    "RefusedRow",
    "Row",
    "Split",
    "check_messages",
    "iter_messages",
    "read_messages",
    "render_rows",
    "split",
    "to_jsonl",
    "truncate",
]

_LAZY = {
    "ChatTokenizer": "phoundry.data.tokenizer",
    "Example": "phoundry.data.tokenizer",
    "Examples": "phoundry.data.examples",
    "render_rows": "phoundry.data.examples",
    "truncate": "phoundry.data.examples",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from phoundry.errors import MissingDependency

    try:
        return getattr(import_module(_LAZY[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "tokenizers":
            raise
        raise MissingDependency.extra("tokenizers", "serve", "Rendering chats") from None  # noqa: S610
