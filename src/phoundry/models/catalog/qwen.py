"""Qwen3, by Alibaba."""

from __future__ import annotations

from typing import Any

from phoundry.models.catalog.entry import CUSTOMARY, CatalogEntry, Template

_TEMPLATE = Template("chatml", system="own turn", tools="own list before the conversation")
_TOKENIZER = "byte-level BPE"
_THINKS = ("It thinks aloud between <think> tags unless its template is told not to.",)


def _shape(hidden: int, inner: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": "qwen3",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
        "max_position_embeddings": 40960,
        "tie_word_embeddings": True,
    }


ENTRIES = (
    CatalogEntry(
        name="qwen3-0.6b",
        title="Qwen3 0.6B",
        family="Qwen3",
        licence="Apache-2.0",
        config=_shape(1024, 3072, 28, 16),
        hub_id="Qwen/Qwen3-0.6B",
        template=_TEMPLATE,
        tokenizer=_TOKENIZER,
        aliases=("qwen3:0.6b",),
        recommended=CUSTOMARY,
        stored=751_632_384,
        notes=_THINKS,
    ),
    CatalogEntry(
        name="qwen3-1.7b",
        title="Qwen3 1.7B",
        family="Qwen3",
        licence="Apache-2.0",
        config=_shape(2048, 6144, 28, 16),
        hub_id="Qwen/Qwen3-1.7B",
        template=_TEMPLATE,
        tokenizer=_TOKENIZER,
        aliases=("qwen3:1.7b",),
        recommended=CUSTOMARY,
        stored=2_031_739_904,
        notes=_THINKS,
    ),
    CatalogEntry(
        name="qwen3-4b",
        title="Qwen3 4B",
        family="Qwen3",
        licence="Apache-2.0",
        config=_shape(2560, 9728, 36, 32),
        hub_id="Qwen/Qwen3-4B",
        template=_TEMPLATE,
        tokenizer=_TOKENIZER,
        aliases=("qwen3:4b",),
        recommended=CUSTOMARY,
        notes=_THINKS,
    ),
)
