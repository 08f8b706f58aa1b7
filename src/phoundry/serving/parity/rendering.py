"""The reference's rendering: transformers' own, from a tokenizer's files. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer


class ReferenceTemplate:
    """transformers' own way from a conversation to token ids, for models without a record."""

    def __init__(self, folder: Path) -> None:
        tokenizers: Any = AutoTokenizer
        self._tokenizer: Any = tokenizers.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[int] | None:
        """The ids after which the model answers, or None where the template refuses."""
        import jinja2

        try:
            ids: Any = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tools=list(tools) if tools else None,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
            )
        except jinja2.TemplateError:
            return None
        return [int(token) for token in ids]
