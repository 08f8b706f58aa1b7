"""Llama 3.2, by Meta. Its licence must be accepted on the hub before anything is fetched."""

from __future__ import annotations

from typing import Any

from phoundry.models.catalog.entry import CUSTOMARY, CatalogEntry, Template

_TEMPLATE = Template(
    "llama3",
    system="own turn; one with dates is always there",
    tools="in the first user message",
)
_TOKENIZER = "byte-level BPE (tiktoken)"


def _shape(hidden: int, layers: int, heads: int, size: int) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": 8192,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": size,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "tie_word_embeddings": True,
    }


ENTRIES = (
    CatalogEntry(
        name="llama-3.2-1b-instruct",
        title="Llama 3.2 1B Instruct",
        family="Llama 3.2",
        licence="Llama 3.2 Community",
        config=_shape(2048, 16, 32, 64),
        hub_id="meta-llama/Llama-3.2-1B-Instruct",
        template=_TEMPLATE,
        tokenizer=_TOKENIZER,
        gated=True,
        aliases=("llama-3.2-1b", "llama3.2-1b", "llama3.2:1b"),
        recommended=CUSTOMARY,
    ),
    CatalogEntry(
        name="llama-3.2-3b-instruct",
        title="Llama 3.2 3B Instruct",
        family="Llama 3.2",
        licence="Llama 3.2 Community",
        config=_shape(3072, 28, 24, 128),
        hub_id="meta-llama/Llama-3.2-3B-Instruct",
        template=_TEMPLATE,
        tokenizer=_TOKENIZER,
        gated=True,
        aliases=("llama-3.2-3b", "llama3.2-3b", "llama3.2:3b", "llama3.2"),
        recommended=CUSTOMARY,
    ),
)
