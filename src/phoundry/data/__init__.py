"""Read, check and split chats, and the one renderer of them: conversation in, token ids out.

`ChatTokenizer` needs the package `tokenizers` (extras `train` and `serve`), the rest nothing.
"""

from __future__ import annotations

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

__all__ = [
    "ChatMessage",
    "Checked",
    "ReadResult",
    "RefusedRow",
    "Row",
    "Split",
    "check_messages",
    "iter_messages",
    "read_messages",
    "split",
    "to_jsonl",
]
