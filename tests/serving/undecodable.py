"""What tokenizers does at bytes that are no text."""

from __future__ import annotations


class Undecodable:
    """A `DecodeStream` that fails as the real one does: with a bare Exception."""

    def __init__(self, *, skip_special_tokens: bool) -> None: ...

    def step(self, tokenizer: object, token: int) -> str:
        raise Exception("Invalid prefix encountered while decoding stream.")
