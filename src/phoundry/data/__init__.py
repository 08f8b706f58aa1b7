"""Read, check and split chats, and the one renderer of them: conversation in, token ids out.

The renderer needs the package `tokenizers` (extras `train` and `serve`), and is loaded when it is
first asked for; the rest needs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phoundry.data.mapping import parse_mapping
from phoundry.data.reader import RowReader, open_rows
from phoundry.data.refusals import Refusals
from phoundry.data.row import (
    AnyRow,
    ChatMessage,
    PreferenceRow,
    RefusedRow,
    Row,
    ToolCall,
    line_digest,
    row_digest,
    to_jsonl,
    to_line,
)
from phoundry.data.rows import (
    Checked,
    ReadResult,
    check_messages,
    iter_messages,
    read_messages,
)
from phoundry.data.sources import SourceFile, expand
from phoundry.data.splits import Split, split, test_places

if TYPE_CHECKING:
    from phoundry.data.examples import Examples, render_rows
    from phoundry.data.fitting import Fitted, fit
    from phoundry.data.tokenizer import ChatTokenizer, Example

__all__ = [
    "AnyRow",
    "ChatMessage",
    "ChatTokenizer",
    "Checked",
    "Example",
    "Examples",
    "Fitted",
    "PreferenceRow",
    "ReadResult",
    "Refusals",
    "RefusedRow",
    "Row",
    "RowReader",
    "SourceFile",
    "Split",
    "ToolCall",
    "check_messages",
    "expand",
    "fit",
    "iter_messages",
    "line_digest",
    "open_rows",
    "parse_mapping",
    "read_messages",
    "render_rows",
    "row_digest",
    "split",
    "test_places",
    "to_jsonl",
    "to_line",
]

_LAZY = {
    "ChatTokenizer": "phoundry.data.tokenizer",
    "Example": "phoundry.data.tokenizer",
    "Examples": "phoundry.data.examples",
    "Fitted": "phoundry.data.fitting",
    "fit": "phoundry.data.fitting",
    "render_rows": "phoundry.data.examples",
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
