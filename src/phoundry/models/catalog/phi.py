"""Phi, by Microsoft: the family of the tutorial."""

from __future__ import annotations

from typing import Any

from phoundry.models.catalog.entry import CatalogEntry, Template

_TEMPLATE = Template("phi3", system="own turn", tools="no")
_TOKENIZER = "SentencePiece BPE with byte fallback"
# The overrides of Azure's own Phi-3-mini component.
_AZURE = {
    "apply_lora": True,
    "precision": "16",
    "learning_rate": 5e-6,
    "lr_scheduler_type": "cosine",
    "save_total_limit": 1,
}
_LONG = (
    "Long chats use other rotary factors (longrope); keep --context-length at 4,096 for others.",
)


def _shape(context: int, **changes: Any) -> dict[str, Any]:
    """The shape of a Phi-3-mini."""
    shape = {
        "model_type": "phi3",
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32064,
        "max_position_embeddings": context,
        "tie_word_embeddings": False,
    }
    return {**shape, **changes}


ENTRIES = (
    CatalogEntry(
        name="phi-3-mini-4k-instruct",
        title="Phi-3 mini 4k Instruct",
        family="Phi-3",
        licence="MIT",
        config=_shape(4096),
        hub_id="microsoft/Phi-3-mini-4k-instruct",
        template=_TEMPLATE,
        tokenizer=_TOKENIZER,
        aliases=("phi-3", "phi-3-mini", "phi3", "phi3:mini", "phi-3-mini-4k"),
        description="The model of Microsoft's tutorial.",
        recommended=_AZURE,
        notes=("llama.cpp does not apply its sliding window of 2,047 tokens.",),
    ),
    CatalogEntry(
        name="phi-3-mini-128k-instruct",
        title="Phi-3 mini 128k Instruct",
        family="Phi-3",
        licence="MIT",
        config=_shape(131072),
        hub_id="microsoft/Phi-3-mini-128k-instruct",
        template=_TEMPLATE,
        tokenizer=_TOKENIZER,
        aliases=("phi-3-mini-128k", "phi3:mini-128k"),
        recommended=_AZURE,
        notes=_LONG,
    ),
    CatalogEntry(
        name="phi-3.5-mini-instruct",
        title="Phi-3.5 mini Instruct",
        family="Phi-3",
        licence="MIT",
        config=_shape(131072),
        hub_id="microsoft/Phi-3.5-mini-instruct",
        template=_TEMPLATE,
        tokenizer=_TOKENIZER,
        aliases=("phi-3.5", "phi-3.5-mini", "phi3.5"),
        recommended=_AZURE,
        notes=_LONG,
    ),
    CatalogEntry(
        name="phi-4-mini-instruct",
        title="Phi-4 mini Instruct",
        family="Phi-4",
        licence="MIT",
        config=_shape(
            131072,
            num_attention_heads=24,
            num_key_value_heads=8,
            vocab_size=200064,
            tie_word_embeddings=True,
        ),
        hub_id="microsoft/Phi-4-mini-instruct",
        template=Template("phi4", system="own turn", tools="inside the system message"),
        tokenizer="byte-level BPE (o200k)",
        aliases=("phi-4-mini", "phi4-mini"),
        recommended=_AZURE,
        notes=_LONG,
    ),
)
