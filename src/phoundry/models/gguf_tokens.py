"""The tokens of a GGUF file, for both kinds of tokenizer.json."""

from __future__ import annotations

import re
from typing import Any

from phoundry.models.gguf_file import GGUFFile

# tokenizer.ggml.token_type
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5
_PADDING = re.compile(r"\[PAD\d+\]")


def vocabulary(source: GGUFFile, tokens: list[str]) -> dict[str, int]:
    """Tokens by text, without the names that converters give to rows that have no token."""
    kinds = source.get("tokenizer.ggml.token_type", [NORMAL] * len(tokens))
    return {
        token: number
        for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if not (kind == UNUSED and _PADDING.fullmatch(token))
    }


def added_tokens(source: GGUFFile) -> list[dict[str, Any]]:
    """Tokens that are looked for in a text before it is cut, as tokenizer.json lists them."""
    tokens: list[str] = source.get("tokenizer.ggml.tokens")
    kinds: list[int] = source.get("tokenizer.ggml.token_type", [])
    return [
        {
            "id": number,
            "content": tokens[number],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind in (CONTROL, UNKNOWN),
        }
        for number, kind in enumerate(kinds)
        if kind in (CONTROL, UNKNOWN, USER_DEFINED)
    ]
